"""Makes the smallest web applications that show what a Tomcat does with good and with broken ones."""

from __future__ import annotations

import subprocess
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from deployer.tomcat.home import TomcatHome

ITEM = """
package tiny;
public class Item implements java.io.Serializable {
    private static final long serialVersionUID = %dL;
    public int count;
}
"""

SERVLET = """
package tiny;
import jakarta.servlet.http.*;
import java.io.IOException;
public class App extends HttpServlet {
    @Override protected void doGet(HttpServletRequest q, HttpServletResponse r) throws IOException {
        try {
            switch (q.getServletPath()) {
                case "/count": {
                    HttpSession s = q.getSession();
                    Item i = (Item) s.getAttribute("item");
                    if (i == null) i = new Item();
                    i.count++;
                    s.setAttribute("item", i);
                    r.getWriter().print(i.count);
                    return;
                }
                case "/slow": Thread.sleep(1500); r.getWriter().print("slept"); return;
                case "/raw": q.getSession().setAttribute("raw", new Object()); return;
                default: r.getWriter().print("ok");
            }
        } catch (InterruptedException e) { throw new IOException(e); }
    }
}
"""

LISTENER = """
package tiny;
public class BadListener implements jakarta.servlet.ServletContextListener {
    @Override public void contextInitialized(jakarta.servlet.ServletContextEvent e) {
        throw new IllegalStateException("no orders", new java.sql.SQLException("database shop is down"));
    }
}
"""

BAD_SERVLET = """
package tiny;
public class BadServlet extends jakarta.servlet.http.HttpServlet {
    @Override public void init() throws jakarta.servlet.ServletException {
        throw new jakarta.servlet.ServletException("licence key missing");
    }
}
"""

WEB_XML = """<?xml version="1.0"?>
<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="6.0" metadata-complete="true">
  {distributable}{extra}
  <servlet><servlet-name>app</servlet-name><servlet-class>tiny.App</servlet-class></servlet>
  <servlet-mapping><servlet-name>app</servlet-name>
    <url-pattern>/count</url-pattern><url-pattern>/slow</url-pattern>
    <url-pattern>/raw</url-pattern><url-pattern>/health</url-pattern>
  </servlet-mapping>
</web-app>
"""

BAD_LISTENER_XML = "<listener><listener-class>tiny.BadListener</listener-class></listener>"
BAD_SERVLET_XML = (
    "<servlet><servlet-name>bad</servlet-name><servlet-class>tiny.BadServlet</servlet-class>"
    "<load-on-startup>1</load-on-startup></servlet>"
)


def compile_classes(home: TomcatHome, to: Path, item_version: int) -> Path:
    """Compiles the application with a serialVersionUID for its session attribute's class."""
    sources = {
        "Item": ITEM % item_version,
        "App": SERVLET,
        "BadListener": LISTENER,
        "BadServlet": BAD_SERVLET,
    }
    (to / "tiny").mkdir(parents=True)
    for name, text in sources.items():
        (to / "tiny" / f"{name}.java").write_text(text)
    servlet_api = home.path / "lib" / "servlet-api.jar"
    files = [str(to / "tiny" / f"{name}.java") for name in sources]
    subprocess.run(["javac", "-nowarn", "--release", "11", "-cp", str(servlet_api), *files], check=True, timeout=60)
    return to


def make_war(
    classes: Path, to: Path, *, extra: str = "", distributable: bool = True, more: Mapping[str, bytes] | None = None
) -> Path:
    """Packs the classes; `extra` goes into web.xml, `more` are further entries, which replace others."""
    web_xml = WEB_XML.format(distributable="<distributable/>" if distributable else "", extra=extra)
    entries = {f"WEB-INF/classes/{file.relative_to(classes)}": file.read_bytes() for file in classes.rglob("*.class")}
    entries |= {"WEB-INF/web.xml": web_xml.encode(), "static/app.css": b"body {}\n"}
    entries |= dict(more or {})
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return to
