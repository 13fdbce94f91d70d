package shop;

/** The ways in which a release can be broken; a WAR is built as one of them, or as none. */
enum Variant {
    FAILS_TO_START("fails-to-start"),
    FAILS_SMOKE("fails-smoke"),
    ERRORS("errors"),
    SLOW("slow"),
    SESSION_CLASS("session-class"),
    NOT_SERIALIZABLE("not-serializable");

    private final String label;

    Variant(String label) {
        this.label = label;
    }

    boolean isBuilt() {
        return label.equals(Build.VARIANT);
    }
}
