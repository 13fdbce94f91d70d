package shop;

import jakarta.servlet.ServletContextEvent;
import jakarta.servlet.ServletContextListener;
import jakarta.servlet.annotation.WebListener;
import java.net.ConnectException;

/** Says which release starts; in the variant fails-to-start, fails as an application without its database does. */
@WebListener
public final class StartListener implements ServletContextListener {
    @Override
    public void contextInitialized(ServletContextEvent event) {
        if (Variant.FAILS_TO_START.isBuilt()) {
            throw new IllegalStateException("shop " + Build.VERSION + " cannot start: its order database does not answer",
                new ConnectException("Connection refused: orders.example:5432"));
        }
        event.getServletContext().log("shop " + Build.VERSION + " starts");
    }
}
