package shop;

import jakarta.servlet.http.HttpServletRequest;
import java.util.regex.Pattern;

/** Request parameters, checked. A bad one is an BadParameter, which VersionFilter answers with 400. */
final class Parameters {
    static final int MAX_WAIT_MS = 120_000;

    private static final Pattern NAME = Pattern.compile("[A-Za-z0-9._-]{1,64}");

    private Parameters() {
    }

    /** What a client sent cannot be used; the message says why. */
    static final class BadParameter extends RuntimeException {
        private static final long serialVersionUID = 1L;

        BadParameter(String message) {
            super(message);
        }
    }

    /** A whole number within bounds (inclusive), or the default when the parameter is absent. */
    static long number(HttpServletRequest request, String name, long absent, long least, long most) {
        String text = request.getParameter(name);
        if (text == null) {
            return absent;
        }
        long value;
        try {
            value = Long.parseLong(text);
        } catch (NumberFormatException e) {
            throw new BadParameter(name + " must be a whole number");
        }
        if (value < least || value > most) {
            throw new BadParameter(name + " must be from " + least + " to " + most);
        }
        return value;
    }

    /** A name of letters, digits, dot, underscore and hyphen, 1 to 64 long. */
    static String name(HttpServletRequest request, String name) {
        String text = request.getParameter(name);
        if (text == null || !NAME.matcher(text).matches()) {
            throw new BadParameter(name + " must match " + NAME.pattern());
        }
        return text;
    }

    /** Waits as long as the parameter ms says, 0 when absent. */
    static long pause(HttpServletRequest request) {
        long ms = number(request, "ms", 0, 0, MAX_WAIT_MS);
        sleep(ms);
        return ms;
    }

    static void sleep(long ms) {
        try {
            Thread.sleep(ms);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("the server stopped during a wait", e);
        }
    }
}
