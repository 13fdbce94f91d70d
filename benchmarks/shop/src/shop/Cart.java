package shop;

import java.io.Serializable;
import java.util.Map;
import java.util.TreeMap;

/**
 * What one user has put aside. A cart never changes: adding makes a new one, so a copy that is being replicated to
 * another Tomcat is never half changed, and setAttribute tells the session manager that there is something to send.
 *
 * <p>Not a record: Java does not compare a record's serialVersionUID, and the variant session-class needs it compared.
 */
public final class Cart implements Serializable {
    static final int MAX_ITEMS = 200;

    private static final long serialVersionUID = Build.CART_SERIAL;

    private final String user;
    private final long counter;
    private final TreeMap<String, Integer> items;

    /** An empty cart, counter 0. */
    public Cart(String user) {
        this(user, 0, new TreeMap<>());
    }

    private Cart(String user, long counter, TreeMap<String, Integer> items) {
        this.user = user;
        this.counter = counter;
        this.items = items;
    }

    public String user() {
        return user;
    }

    /** How many times something was added to this cart in this session. */
    public long counter() {
        return counter;
    }

    public boolean hasRoomFor(String item) {
        return items.size() < MAX_ITEMS || items.containsKey(item);
    }

    public Cart plus(String item) {
        TreeMap<String, Integer> more = new TreeMap<>(items);
        more.merge(item, 1, Integer::sum);
        return new Cart(user, counter + 1, more);
    }

    public String toJson() {
        StringBuilder out = new StringBuilder(128);
        out.append("{\"version\":").append(Json.quote(Build.VERSION));
        out.append(",\"user\":").append(Json.quote(user));
        out.append(",\"counter\":").append(counter);
        out.append(",\"items\":{");
        String comma = "";
        for (Map.Entry<String, Integer> item : items.entrySet()) {
            out.append(comma).append(Json.quote(item.getKey())).append(':').append(item.getValue());
            comma = ",";
        }
        return out.append("}}").toString();
    }

    @Override
    public String toString() {
        return "Cart(" + user + ", counter " + counter + ", " + items.size() + " items)";
    }
}
