package shop;

import jakarta.servlet.annotation.WebServlet;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import jakarta.servlet.http.HttpSession;
import java.io.IOException;

/**
 * GET or POST /counter (ms): adds one to the session's counter and answers with it; a session is made when there is
 * none. Requests of one session that run together get different numbers without a gap. ms is waited after the count.
 */
@WebServlet("/counter")
public final class CounterServlet extends HttpServlet {
    private static final long serialVersionUID = 1L;

    @Override
    protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
        HttpSession session = request.getSession(true);
        long counter;
        synchronized (SessionLocks.of(session)) {
            Long before = (Long) session.getAttribute("counter");
            counter = before == null ? 1 : before + 1;
            session.setAttribute("counter", counter);
        }
        Parameters.pause(request);
        Json.send(response, 200, "{\"version\":" + Json.quote(Build.VERSION) + ",\"counter\":" + counter + "}");
    }

    @Override
    protected void doPost(HttpServletRequest request, HttpServletResponse response) throws IOException {
        doGet(request, response);
    }
}
