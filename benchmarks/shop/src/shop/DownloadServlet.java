package shop;

import jakarta.servlet.annotation.WebServlet;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.Arrays;

/**
 * GET /download (bytes, seed, chunked): content that the client can compute for itself, 2 GiB at most.
 *
 * <p>The content is a row of blocks of 65,536 bytes, cut at the length asked for. Block k is k as 8 bytes, big-endian,
 * and then the first 65,528 bytes of SHA-256("seed:0"), SHA-256("seed:1"), … one after another. So a lost, doubled or
 * misplaced piece shows, and a client compares blocks instead of hashing them. chunked=1 leaves Content-Length out.
 */
@WebServlet("/download")
public final class DownloadServlet extends HttpServlet {
    private static final long serialVersionUID = 1L;
    private static final long MAX_BYTES = 2L << 30;
    private static final int BLOCK = 65536;

    @Override
    protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
        long bytes = Parameters.number(request, "bytes", 65536, 0, MAX_BYTES);
        long seed = Parameters.number(request, "seed", 0, 0, Long.MAX_VALUE);
        boolean chunked = Parameters.number(request, "chunked", 0, 0, 1) == 1;
        response.setContentType("application/octet-stream");
        if (!chunked) {
            response.setContentLengthLong(bytes);
        }
        byte[] block = firstBlock(seed);
        OutputStream body = response.getOutputStream();
        for (long k = 0; k * BLOCK < bytes; k++) {
            ByteBuffer.wrap(block).putLong(k);
            body.write(block, 0, (int) Math.min(BLOCK, bytes - k * BLOCK));
        }
        if (chunked) {
            // A body that fits Tomcat's buffer would get a Content-Length after all.
            response.flushBuffer();
        }
    }

    private static byte[] firstBlock(long seed) {
        MessageDigest digest = UploadServlet.sha256();
        byte[] block = new byte[BLOCK];
        for (int i = 0, at = Long.BYTES; at < BLOCK; i++) {
            byte[] part = digest.digest((seed + ":" + i).getBytes(StandardCharsets.US_ASCII));
            byte[] fitting = Arrays.copyOf(part, Math.min(part.length, BLOCK - at));
            System.arraycopy(fitting, 0, block, at, fitting.length);
            at += fitting.length;
        }
        return block;
    }
}
