package shop;

import jakarta.servlet.annotation.WebServlet;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.util.Collections;
import java.util.stream.Collectors;

/** GET /whoami: which release answers, on which port, and what it was told: addresses, scheme, every header. */
@WebServlet("/whoami")
public final class WhoamiServlet extends HttpServlet {
    private static final long serialVersionUID = 1L;

    @Override
    protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
        Json.send(response, 200, "{\"version\":" + Json.quote(Build.VERSION)
            + ",\"variant\":" + Json.quote(Build.VARIANT)
            + ",\"slot_port\":" + request.getLocalPort()
            + ",\"remote_address\":" + Json.quote(request.getRemoteAddr())
            + ",\"scheme\":" + Json.quote(request.getScheme())
            + ",\"server_name\":" + Json.quote(request.getServerName())
            + ",\"server_port\":" + request.getServerPort()
            + ",\"protocol\":" + Json.quote(request.getProtocol())
            + ",\"headers\":{" + headers(request) + "}}");
    }

    private static String headers(HttpServletRequest request) {
        return Collections.list(request.getHeaderNames()).stream()
            .map(name -> Json.quote(name) + ":" + Collections.list(request.getHeaders(name)).stream()
                .map(Json::quote).collect(Collectors.joining(",", "[", "]")))
            .collect(Collectors.joining(","));
    }
}
