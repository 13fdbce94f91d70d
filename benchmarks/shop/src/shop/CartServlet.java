package shop;

import jakarta.servlet.annotation.WebServlet;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import jakarta.servlet.http.HttpSession;
import java.io.IOException;

/** GET /cart: the whole cart. POST /cart (item): adds one and answers with the whole cart. 401 without a session. */
@WebServlet("/cart")
public final class CartServlet extends HttpServlet {
    private static final long serialVersionUID = 1L;

    @Override
    protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
        HttpSession session = request.getSession(false);
        Cart cart = session == null ? null : (Cart) session.getAttribute("cart");
        if (cart == null) {
            refuse(response);
            return;
        }
        Json.send(response, 200, cart.toJson());
    }

    @Override
    protected void doPost(HttpServletRequest request, HttpServletResponse response) throws IOException {
        String item = Parameters.name(request, "item");
        HttpSession session = request.getSession(false);
        if (session == null) {
            refuse(response);
            return;
        }
        Cart cart;
        synchronized (SessionLocks.of(session)) {
            cart = (Cart) session.getAttribute("cart");
            if (cart != null && cart.hasRoomFor(item)) {
                cart = cart.plus(item);
                session.setAttribute("cart", cart);
            } else if (cart != null) {
                Json.sendError(response, 409, "the cart holds " + Cart.MAX_ITEMS + " different items: that is all it can");
                return;
            }
        }
        if (cart == null) {
            refuse(response);
            return;
        }
        Json.send(response, 200, cart.toJson());
    }

    private static void refuse(HttpServletResponse response) throws IOException {
        Json.sendError(response, 401, "no session: POST /login first");
    }
}
