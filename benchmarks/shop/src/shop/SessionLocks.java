package shop;

import jakarta.servlet.http.HttpSession;

/**
 * One request at a time changes one session. The locks are striped by session id, because Tomcat hands out a new
 * HttpSession object for each request, so the object itself is no lock.
 */
final class SessionLocks {
    private static final Object[] STRIPES = new Object[256];

    static {
        for (int i = 0; i < STRIPES.length; i++) {
            STRIPES[i] = new Object();
        }
    }

    private SessionLocks() {
    }

    static Object of(HttpSession session) {
        return STRIPES[Math.floorMod(session.getId().hashCode(), STRIPES.length)];
    }
}
