package shop;

import jakarta.servlet.annotation.WebServlet;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;

/** GET /slow (ms): answers after so many milliseconds, 120,000 at most. */
@WebServlet("/slow")
public final class SlowServlet extends HttpServlet {
    private static final long serialVersionUID = 1L;

    @Override
    protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
        long ms = Parameters.pause(request);
        Json.send(response, 200, "{\"version\":" + Json.quote(Build.VERSION) + ",\"ms\":" + ms + "}");
    }
}
