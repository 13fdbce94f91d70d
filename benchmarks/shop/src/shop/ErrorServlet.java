package shop;

import jakarta.servlet.annotation.WebServlet;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;

/** Any method on /error (status): answers with that status, 400 to 599. */
@WebServlet("/error")
public final class ErrorServlet extends HttpServlet {
    private static final long serialVersionUID = 1L;

    @Override
    protected void service(HttpServletRequest request, HttpServletResponse response) throws IOException {
        int status = (int) Parameters.number(request, "status", 500, 400, 599);
        Json.sendError(response, status, "as asked for");
    }
}
