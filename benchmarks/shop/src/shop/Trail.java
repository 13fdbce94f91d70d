package shop;

/** Where a user came from. It is not Serializable: the mistake that the variant not-serializable makes. */
final class Trail {
    private final String from;

    Trail(String from) {
        this.from = from;
    }

    @Override
    public String toString() {
        return "Trail(from " + from + ")";
    }
}
