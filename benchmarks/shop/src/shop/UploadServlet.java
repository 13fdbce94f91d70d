package shop;

import jakarta.servlet.annotation.WebServlet;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.io.InputStream;
import java.math.BigInteger;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;

/** POST or PUT /upload: the body's length and SHA-256. It is read as it comes and kept nowhere; 413 over 2 GiB. */
@WebServlet("/upload")
public final class UploadServlet extends HttpServlet {
    private static final long serialVersionUID = 1L;
    private static final long MAX_BYTES = 2L << 30;

    @Override
    protected void doPost(HttpServletRequest request, HttpServletResponse response) throws IOException {
        MessageDigest digest = sha256();
        byte[] buffer = new byte[65536];
        long bytes = 0;
        InputStream body = request.getInputStream();
        for (int n = body.read(buffer); n >= 0; n = body.read(buffer)) {
            bytes += n;
            if (bytes > MAX_BYTES) {
                Json.sendError(response, 413, "an upload may be " + MAX_BYTES + " bytes at most");
                return;
            }
            digest.update(buffer, 0, n);
        }
        String hex = String.format("%064x", new BigInteger(1, digest.digest()));
        Json.send(response, 200,
            "{\"version\":" + Json.quote(Build.VERSION) + ",\"bytes\":" + bytes + ",\"sha256\":\"" + hex + "\"}");
    }

    @Override
    protected void doPut(HttpServletRequest request, HttpServletResponse response) throws IOException {
        doPost(request, response);
    }

    static MessageDigest sha256() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("every Java platform has SHA-256", e);
        }
    }
}
