package shop;

import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;

/** Just enough JSON to answer with (RFC 8259). */
final class Json {
    private Json() {
    }

    static String quote(String text) {
        StringBuilder out = new StringBuilder(text.length() + 2).append('"');
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c < 0x20) {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        return out.append('"').toString();
    }

    /**
     * Answers with a document. The writer is neither flushed nor closed: Tomcat replicates a session after the servlet
     * and before the response's end, so a user who has the whole answer finds its effect on the other Tomcat too.
     */
    static void send(HttpServletResponse response, int status, String document) throws IOException {
        response.setStatus(status);
        response.setContentType("application/json");
        response.setCharacterEncoding("UTF-8");
        response.getWriter().print(document);
    }

    static void sendError(HttpServletResponse response, int status, String message) throws IOException {
        send(response, status, "{\"version\":" + quote(Build.VERSION) + ",\"error\":" + quote(message) + "}");
    }
}
