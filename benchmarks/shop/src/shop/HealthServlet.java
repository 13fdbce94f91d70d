package shop;

import jakarta.servlet.annotation.WebServlet;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;

/** GET /health: 200 "ok VERSION". */
@WebServlet("/health")
public final class HealthServlet extends HttpServlet {
    private static final long serialVersionUID = 1L;

    @Override
    protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
        response.setContentType("text/plain");
        response.setCharacterEncoding("UTF-8");
        if (Variant.FAILS_SMOKE.isBuilt()) {
            response.setStatus(500);
            response.getWriter().print("database schema is too old: found 41, version " + Build.VERSION + " needs 42\n");
            return;
        }
        response.getWriter().print("ok " + Build.VERSION + "\n");
    }
}
