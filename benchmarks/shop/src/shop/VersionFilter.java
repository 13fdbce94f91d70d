package shop;

import jakarta.servlet.FilterChain;
import jakarta.servlet.ServletException;
import jakarta.servlet.annotation.WebFilter;
import jakarta.servlet.http.HttpFilter;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Every response names its version and how long it may be kept; bad parameters become 400. The variants errors and
 * slow live here: every fifth request but /health answers 500; every page but /health and assets takes 800 ms longer.
 */
@WebFilter("/*")
public final class VersionFilter extends HttpFilter {
    private static final long serialVersionUID = 1L;
    private static final int SLOWER_BY_MS = 800;

    private final AtomicLong requests = new AtomicLong();

    @Override
    protected void doFilter(HttpServletRequest request, HttpServletResponse response, FilterChain chain)
            throws IOException, ServletException {
        String path = request.getServletPath();
        boolean health = path.equals("/health");
        boolean asset = path.startsWith("/static/");
        response.setHeader("X-Shop-Version", Build.VERSION);
        // An asset's name changes with its content, so a copy of it is good for ever.
        response.setHeader("Cache-Control", asset ? "public, max-age=31536000, immutable" : "no-store");
        if (Variant.SLOW.isBuilt() && !health && !asset) {
            Parameters.sleep(SLOWER_BY_MS);
        }
        if (Variant.ERRORS.isBuilt() && !health && requests.incrementAndGet() % 5 == 0) {
            Json.sendError(response, 500, "the variant errors fails every fifth request");
            return;
        }
        try {
            chain.doFilter(request, response);
        } catch (Parameters.BadParameter e) {
            Json.sendError(response, 400, e.getMessage());
        }
    }
}
