package shop;

import jakarta.servlet.annotation.WebServlet;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.io.PrintWriter;

/**
 * GET /events (count, interval in ms): server-sent events (WHATWG HTML, section 9.2), numbered from 1, each flushed.
 * The last is named "end", so a client tells a whole stream from one that was cut.
 */
@WebServlet("/events")
public final class EventsServlet extends HttpServlet {
    private static final long serialVersionUID = 1L;

    @Override
    protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
        long count = Parameters.number(request, "count", 10, 1, 100_000);
        long interval = Parameters.number(request, "interval", 1000, 0, 60_000);
        response.setContentType("text/event-stream");
        response.setCharacterEncoding("UTF-8");
        PrintWriter out = response.getWriter();
        for (long id = 1; id <= count; id++) {
            out.print("id: " + id + "\ndata: {\"version\":" + Json.quote(Build.VERSION) + ",\"n\":" + id + "}\n\n");
            // checkError flushes, and tells when the reader has gone.
            if (out.checkError()) {
                return;
            }
            Parameters.sleep(interval);
        }
        out.print("event: end\ndata: " + count + "\n\n");
    }
}
