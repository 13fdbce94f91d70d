"""A web application that shows what HTTP/1.1 can do between a Tomcat and its clients, and a Tomcat that runs it."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

from test_shop import java_command

HOME = Path(os.environ.get("CATALINA_HOME") or "/usr/share/tomcat10")
STATIC = bytes(range(256)) * 400
START_SECONDS = 60.0

_SERVLETS = """package wired;
import jakarta.servlet.*;
import jakarta.servlet.http.*;
import java.io.*;
import java.security.MessageDigest;
import java.util.*;
import java.util.concurrent.*;
public class App extends HttpServlet {
  static final List<AsyncContext> WAITING = new CopyOnWriteArrayList<>();
  static final List<String> CLOSES = new CopyOnWriteArrayList<>();
  @Override protected void service(HttpServletRequest q, HttpServletResponse r) throws ServletException, IOException {
    r.setContentType("text/plain; charset=utf-8");
    switch (q.getServletPath()) {
      case "/upload": upload(q, r); return;
      case "/refuse": refuse(q, r); return;
      case "/wait": await(q, r); return;
      case "/publish": publish(q, r); return;
      case "/closes": r.getWriter().print(String.join(",", CLOSES)); return;
      case "/trailers": trailers(r); return;
      case "/session": r.getWriter().print(q.getRequestedSessionId()); return;
      default: r.getWriter().print("ok");
    }
  }
  /** The body's length and digest, the fields Expect and Transfer-Encoding, and the trailers. */
  static void upload(HttpServletRequest q, HttpServletResponse r) throws IOException {
    try {
      MessageDigest digest = MessageDigest.getInstance("SHA-256");
      byte[] buffer = new byte[65536];
      long bytes = 0;
      InputStream body = q.getInputStream();
      for (int n = body.read(buffer); n >= 0; n = body.read(buffer)) { bytes += n; digest.update(buffer, 0, n); }
      String hex = String.format("%064x", new java.math.BigInteger(1, digest.digest()));
      r.getWriter().print(bytes + " " + hex + " " + q.getHeader("Expect") + " " + q.getHeader("Transfer-Encoding")
          + " " + new TreeMap<>(q.getTrailerFields()));
    } catch (java.security.NoSuchAlgorithmException e) { throw new IOException(e); }
  }
  /** Answers without reading. */
  static void refuse(HttpServletRequest q, HttpServletResponse r) throws IOException {
    r.setStatus(Integer.parseInt(q.getParameter("status")));
    r.getWriter().print("no");
  }
  /** Events or one answer, for who comes to /publish later. */
  static void await(HttpServletRequest q, HttpServletResponse r) throws IOException {
    AsyncContext waiting = q.startAsync();
    waiting.setTimeout(0);
    boolean events = q.getParameter("events") != null;
    if (events) r.setContentType("text/event-stream");
    WAITING.add(waiting);
    if (events) r.flushBuffer();
  }
  /** Sends the text to all that wait, and says how many these are; with end=1 that was all. */
  static void publish(HttpServletRequest q, HttpServletResponse r) throws IOException {
    int count = 0;
    for (AsyncContext waiting : WAITING) {
      count++;
      waiting.getResponse().getWriter().print(q.getParameter("text"));
      waiting.getResponse().flushBuffer();
      if (q.getParameter("end") != null) { WAITING.remove(waiting); waiting.complete(); }
    }
    r.getWriter().print(count);
  }
  static void trailers(HttpServletResponse r) throws IOException {
    r.setTrailerFields(() -> Map.of("X-Sum", "42"));
    r.getWriter().print("first ");
    r.flushBuffer();
    r.getWriter().print("second");
  }
}
"""

_ECHO = """package wired;
import jakarta.websocket.*;
import jakarta.websocket.server.ServerEndpoint;
import java.io.IOException;
import java.nio.ByteBuffer;
@ServerEndpoint("/echo")
public class Echo {
  @OnOpen public void open(Session s) {
    s.setMaxTextMessageBufferSize(8 << 20);
    s.setMaxBinaryMessageBufferSize(8 << 20);
  }
  @OnMessage public String text(Session s, String m) throws IOException {
    if (m.equals("close")) s.close(new CloseReason(CloseReason.CloseCodes.getCloseCode(4001), "as you wish"));
    return m.equals("close") ? null : m;
  }
  @OnMessage public ByteBuffer binary(ByteBuffer m) { return m; }
  @OnClose public void closed(CloseReason why) { App.CLOSES.add(String.valueOf(why.getCloseCode().getCode())); }
}
"""

_WEB_XML = """<?xml version="1.0"?>
<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="6.0">
  <servlet><servlet-name>app</servlet-name><servlet-class>wired.App</servlet-class>
    <async-supported>true</async-supported></servlet>
  <servlet-mapping><servlet-name>app</servlet-name>
    <url-pattern>/health</url-pattern><url-pattern>/upload</url-pattern><url-pattern>/refuse</url-pattern>
    <url-pattern>/wait</url-pattern><url-pattern>/publish</url-pattern><url-pattern>/closes</url-pattern>
    <url-pattern>/trailers</url-pattern><url-pattern>/session</url-pattern>
  </servlet-mapping>
</web-app>
"""

_SERVER_XML = """<Server port="-1">
  <Service name="Catalina">
    {connectors}
    <Engine name="Catalina" defaultHost="localhost">
      <Host name="localhost" appBase="webapps" autoDeploy="false">
        <Valve className="org.apache.catalina.valves.AccessLogValve" prefix="access" suffix=".log" rotatable="false"
               buffered="false" pattern="%{{X-Request-Id}}i %m %U"/>
      </Host>
    </Engine>
  </Service>
</Server>"""
# With onRead an application can answer in place of the 100 (Tomcat's configuration reference, HTTP connector).
_CONNECTOR = """<Connector address="127.0.0.1" port="{port}" bindOnInit="false" continueResponseTiming="onRead"
      allowedTrailerHeaders="x-sum,x-more"/>"""


def make_war(directory: Path) -> Path:
    classes = directory / "classes"
    sources = {"App": _SERVLETS, "Echo": _ECHO}
    (directory / "source").mkdir()
    for name, text in sources.items():
        (directory / "source" / f"{name}.java").write_text(text)
    libraries = ":".join(
        str(HOME / "lib" / f"{name}.jar") for name in ("servlet-api", "websocket-api", "websocket-client-api")
    )
    files = [str(directory / "source" / f"{name}.java") for name in sources]
    command = ["javac", "-nowarn", "--release", "11", "-proc:none", "-cp", libraries, "-d", str(classes), *files]
    subprocess.run(command, check=True, timeout=60)
    war = directory / "ROOT.war"
    with zipfile.ZipFile(war, "w") as archive:
        for file in classes.rglob("*.class"):
            archive.write(file, f"WEB-INF/classes/{file.relative_to(classes)}")
        archive.writestr("WEB-INF/web.xml", _WEB_XML)
        archive.writestr("static.bin", STATIC)
    return war


def start_tomcat(directory: Path, ports: tuple[int, ...]) -> subprocess.Popen[bytes]:
    """One Tomcat that listens on all the ports, and is ready. Its log is `directory`/log.

    In `directory`/logs/access.log each request begins a line with its X-Request-Id, or `-` without one.
    """
    for folder in ("conf", "webapps", "logs", "work", "temp"):
        (directory / folder).mkdir(parents=True)
    web_xml = next(HOME / folder / "web.xml" for folder in ("etc", "conf") if (HOME / folder / "web.xml").is_file())
    (directory / "conf" / "web.xml").write_bytes(web_xml.read_bytes())
    connectors = "\n    ".join(_CONNECTOR.format(port=port) for port in ports)
    (directory / "conf" / "server.xml").write_text(_SERVER_XML.format(connectors=connectors))
    (directory / "conf" / "logging.properties").write_text("handlers = java.util.logging.ConsoleHandler\n")
    make_war(directory).rename(directory / "webapps" / "ROOT.war")
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            java_command(HOME, directory), stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=directory
        )
    try:
        wait_until_served(f"http://127.0.0.1:{ports[-1]}/health", process)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return process


def wait_until_served(url: str, process: subprocess.Popen[bytes]) -> None:
    """Returns when it is answered 200. It asks again and again, as a server tells nobody that it is ready."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10):
                return
        except (urllib.error.URLError, ConnectionError):
            assert process.poll() is None, "it has ended"
            assert time.monotonic() < deadline, f"nothing is served at {url}"
            time.sleep(0.1)


def post_json(url: str, body: object) -> object:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)
