package shop;

import java.sql.Connection;
import java.sql.Driver;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.ServiceLoader;
import java.util.concurrent.ConcurrentLinkedDeque;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;

/** Connections to one database: 8 at most, each used by one request at a time and kept for the next one. */
final class Connections implements AutoCloseable {
    static final int MOST = 8;
    static final int WAIT_SECONDS = 10;

    private final Driver driver;
    private final String url;
    private final Semaphore places = new Semaphore(MOST, true);
    private final ConcurrentLinkedDeque<Connection> idle = new ConcurrentLinkedDeque<>();

    /** What is done with a connection. */
    interface Work<T> {
        T with(Connection connection) throws SQLException;
    }

    /** Opens nothing yet. Throws SQLException when no driver in the WAR takes the URL. */
    Connections(String url) throws SQLException {
        this.url = url;
        this.driver = driverOf(url);
    }

    /** Not DriverManager's choice: it does not look into a WAR. */
    private static Driver driverOf(String url) throws SQLException {
        for (Driver found : ServiceLoader.load(Driver.class, Connections.class.getClassLoader())) {
            if (found.acceptsURL(url)) {
                return found;
            }
        }
        throw new SQLException("no JDBC driver in this WAR takes " + url);
    }

    /** Does the work on a connection in auto-commit mode. One on which it failed is closed. */
    <T> T use(Work<T> work) throws SQLException {
        take();
        Connection connection = null;
        boolean sound = false;
        try {
            connection = idle.pollFirst();
            if (connection == null) {
                connection = open();
            }
            T done = work.with(connection);
            sound = true;
            return done;
        } finally {
            if (sound) {
                idle.addFirst(connection);
            } else if (connection != null) {
                closeQuietly(connection);
            }
            places.release();
        }
    }

    private void take() throws SQLException {
        try {
            if (!places.tryAcquire(WAIT_SECONDS, TimeUnit.SECONDS)) {
                throw new SQLException("all " + MOST + " connections were busy for " + WAIT_SECONDS + " s");
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new SQLException("the server stopped while a request waited for a connection", e);
        }
    }

    private Connection open() throws SQLException {
        Properties settings = new Properties();
        settings.setProperty("ApplicationName", "shop " + Build.VERSION);
        settings.setProperty("connectTimeout", Integer.toString(WAIT_SECONDS));
        settings.setProperty("socketTimeout", "30");
        Connection connection = driver.connect(url, settings);
        if (connection == null) {
            throw new SQLException("the JDBC driver does not take " + url);
        }
        return connection;
    }

    /** Closes what is idle, and takes this WAR's drivers out of the JVM's list, which would keep its classes alive. */
    @Override
    public void close() {
        Connection connection;
        while ((connection = idle.pollFirst()) != null) {
            closeQuietly(connection);
        }
        List<Driver> registered = new ArrayList<>(DriverManager.drivers().toList());
        registered.removeIf(found -> found.getClass().getClassLoader() != Connections.class.getClassLoader());
        for (Driver found : registered) {
            try {
                DriverManager.deregisterDriver(found);
            } catch (SQLException e) {
                throw new IllegalStateException("a JDBC driver stays registered", e);
            }
        }
    }

    private static void closeQuietly(Connection connection) {
        try {
            connection.close();
        } catch (SQLException e) {
            // It is given up anyway; the error that matters is the one of the work.
        }
    }

    @Override
    public String toString() {
        return "Connections(" + url + ", " + idle.size() + " idle, " + places.availablePermits() + " places free)";
    }
}
