package shop;

/**
 * Which columns of the table orders a build writes and reads. Its column item is renamed to product while releases run,
 * in the steps that config/examples/database/README.md describes; a build is of one step, or keeps no orders.
 */
enum OrderColumns {
    OLD("old",
        "INSERT INTO orders (item, reference) VALUES (?, ?)",
        "UPDATE orders SET item = ? WHERE reference = ?",
        "SELECT item FROM orders WHERE reference = ?"),
    /** Writes both, for releases that read the old one; reads the new one, and the old one where it is still empty. */
    DUAL("dual",
        "INSERT INTO orders (item, product, reference) VALUES (?, ?, ?)",
        "UPDATE orders SET item = ?, product = ? WHERE reference = ?",
        "SELECT coalesce(product, item) FROM orders WHERE reference = ?"),
    NEW("new",
        "INSERT INTO orders (product, reference) VALUES (?, ?)",
        "UPDATE orders SET product = ? WHERE reference = ?",
        "SELECT product FROM orders WHERE reference = ?");

    /** The parameters of insert and update: what was ordered, as often as it is written, then the reference. */
    final String insert;
    final String update;
    final String select;

    private final String label;

    OrderColumns(String label, String insert, String update, String select) {
        this.label = label;
        this.insert = insert;
        this.update = update;
        this.select = select;
    }

    /** How often insert and update take what was ordered. */
    int copies() {
        return this == DUAL ? 2 : 1;
    }

    /** What this build uses; null when it keeps no orders. */
    static OrderColumns ofBuild() {
        for (OrderColumns columns : values()) {
            if (columns.label.equals(Build.ORDERS)) {
                return columns;
            }
        }
        return null;
    }
}
