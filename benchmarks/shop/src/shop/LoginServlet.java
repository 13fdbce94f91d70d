package shop;

import jakarta.servlet.annotation.WebServlet;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import jakarta.servlet.http.HttpSession;
import java.io.IOException;

/** POST /login (user): a new session with an empty cart. A known session id never becomes a logged-in one. */
@WebServlet("/login")
public final class LoginServlet extends HttpServlet {
    private static final long serialVersionUID = 1L;

    @Override
    protected void doPost(HttpServletRequest request, HttpServletResponse response) throws IOException {
        String user = Parameters.name(request, "user");
        HttpSession before = request.getSession(false);
        if (before != null) {
            before.invalidate();
        }
        HttpSession session = request.getSession(true);
        Cart cart = new Cart(user);
        session.setAttribute("cart", cart);
        if (Build.LEAVES_TRAIL) {
            session.setAttribute("trail", new Trail(request.getRemoteAddr()));
        }
        Json.send(response, 200, cart.toJson());
    }
}
