package shop;

import jakarta.servlet.ServletException;
import jakarta.servlet.annotation.WebServlet;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;

/**
 * POST /orders (reference, item): one row in the database, each time. PUT: another item for a reference. GET: what was
 * ordered. 200 means that it is committed; 503, with the reason in the log, that it may not be. Only in builds with
 * orders, when the system property shop.orders.url is a JDBC URL; 404 otherwise.
 */
@WebServlet("/orders")
public final class OrdersServlet extends HttpServlet {
    private static final long serialVersionUID = 1L;

    private transient OrderColumns columns;
    private transient Connections database;

    @Override
    public void init() throws ServletException {
        columns = OrderColumns.ofBuild();
        String url = System.getProperty("shop.orders.url", "");
        if (columns == null || url.isEmpty()) {
            return;
        }
        try {
            database = new Connections(url);
        } catch (SQLException e) {
            throw new ServletException("shop " + Build.VERSION + " can't keep orders", e);
        }
    }

    @Override
    public void destroy() {
        if (database != null) {
            database.close();
        }
    }

    @Override
    protected void doPost(HttpServletRequest request, HttpServletResponse response) throws IOException {
        write(request, response, true);
    }

    @Override
    protected void doPut(HttpServletRequest request, HttpServletResponse response) throws IOException {
        write(request, response, false);
    }

    @Override
    protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
        String reference = Parameters.name(request, "reference");
        if (keepsNone(response)) {
            return;
        }
        try {
            String item = database.use(connection -> {
                try (PreparedStatement statement = connection.prepareStatement(columns.select)) {
                    statement.setString(1, reference);
                    try (ResultSet rows = statement.executeQuery()) {
                        return rows.next() ? rows.getString(1) : null;
                    }
                }
            });
            answer(response, reference, item);
        } catch (SQLException e) {
            fail(response, reference, e);
        }
    }

    private void write(HttpServletRequest request, HttpServletResponse response, boolean fresh) throws IOException {
        String reference = Parameters.name(request, "reference");
        String item = Parameters.name(request, "item");
        if (keepsNone(response)) {
            return;
        }
        try {
            int written = database.use(connection -> {
                String text = fresh ? columns.insert : columns.update;
                try (PreparedStatement statement = connection.prepareStatement(text)) {
                    int last = columns.copies() + 1;
                    for (int i = 1; i < last; i++) {
                        statement.setString(i, item);
                    }
                    statement.setString(last, reference);
                    return statement.executeUpdate();
                }
            });
            answer(response, reference, written == 0 ? null : item);
        } catch (SQLException e) {
            fail(response, reference, e);
        }
    }

    private boolean keepsNone(HttpServletResponse response) throws IOException {
        if (database != null) {
            return false;
        }
        Json.sendError(response, 404, columns == null ? "this build keeps no orders" : "shop.orders.url is not set");
        return true;
    }

    private static void answer(HttpServletResponse response, String reference, String item) throws IOException {
        if (item == null) {
            Json.sendError(response, 404, "there is no order " + reference);
            return;
        }
        Json.send(response, 200, "{\"version\":" + Json.quote(Build.VERSION) + ",\"reference\":" + Json.quote(reference)
            + ",\"item\":" + Json.quote(item) + "}");
    }

    private void fail(HttpServletResponse response, String reference, SQLException why) throws IOException {
        log("order " + reference, why);
        Json.sendError(response, 503, "the order database failed: " + why.getSQLState());
    }
}
