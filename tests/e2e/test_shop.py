"""The shop on a real Tomcat: its endpoints, its assets, and each way in which a release of it can be broken."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shop_wars import ShopWars

pytestmark = pytest.mark.tomcat

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "benchmarks" / "shop" / "build"
PORT, LEFT, RIGHT = 18080, 18081, 18082
RECEIVERS = {LEFT: 18091, RIGHT: 18092}
START_SECONDS = 40.0
# The WARs by the context that they are deployed as: one Tomcat runs all that need no cluster.
WARS = {
    "ROOT": ("1", ""),
    "next": ("2", ""),
    "shop-fails-to-start": ("3", "fails-to-start"),
    "shop-fails-smoke": ("3", "fails-smoke"),
    "shop-errors": ("3", "errors"),
    "shop-slow": ("3", "slow"),
    "shop-session-class": ("3", "session-class"),
    "shop-not-serializable": ("3", "not-serializable"),
}


@dataclasses.dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def cookie(self) -> dict[str, str]:
        """The request header that sends this answer's cookie back."""
        return {"Cookie": self.headers["Set-Cookie"].split(";")[0]}


def ask(
    method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None, port: int = PORT
) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


def send_form(path: str, form: str, cookie: dict[str, str] | None = None, port: int = PORT) -> Answer:
    headers = {"Content-Type": "application/x-www-form-urlencoded", **(cookie or {})}
    return ask("POST", path, form.encode(), headers, port)


def cluster_xml(port: int) -> str:
    """Two members with a static membership, each on the loopback; the peer is the other one."""
    peer = LEFT if port == RIGHT else RIGHT
    tribes = "org.apache.catalina.tribes"
    member = f'className="{tribes}.membership.StaticMember" domain="test"'
    return f"""
      <Cluster className="org.apache.catalina.ha.tcp.SimpleTcpCluster" channelSendOptions="6" channelStartOptions="3">
        <Channel className="{tribes}.group.GroupChannel">
          <Receiver className="{tribes}.transport.nio.NioReceiver" address="127.0.0.1" port="{RECEIVERS[port]}"
                    autoBind="0"/>
          <Sender className="{tribes}.transport.ReplicationTransmitter">
            <Transport className="{tribes}.transport.nio.PooledParallelSender" timeout="1000"/></Sender>
          <Interceptor className="{tribes}.group.interceptors.TcpFailureDetector"/>
          <Interceptor className="{tribes}.group.interceptors.MessageDispatchInterceptor"/>
          <Interceptor className="{tribes}.group.interceptors.StaticMembershipInterceptor">
            <LocalMember {member} uniqueId="{{{port % 256},0,0,0,0,0,0,0,0,0,0,0,0,0,0,1}}"/>
            <Member {member} uniqueId="{{{peer % 256},0,0,0,0,0,0,0,0,0,0,0,0,0,0,1}}"
                    host="127.0.0.1" port="{RECEIVERS[peer]}"/>
          </Interceptor>
        </Channel>
        <Valve className="org.apache.catalina.ha.tcp.ReplicationValve" filter=""/>
        <ClusterListener className="org.apache.catalina.ha.session.ClusterSessionListener"/>
      </Cluster>"""


def server_xml(port: int, clustered: bool) -> str:
    return f"""<Server port="-1">
  <Service name="Catalina">
    <Connector address="127.0.0.1" port="{port}" bindOnInit="false" throwOnFailure="true"/>
    <Engine name="Catalina" defaultHost="localhost">{cluster_xml(port) if clustered else ""}
      <Host name="localhost" appBase="webapps" autoDeploy="false">
        <Valve className="org.apache.catalina.valves.ErrorReportValve" showReport="false" showServerInfo="false"/>
      </Host>
    </Engine>
  </Service>
</Server>"""


CONTEXT_XML = '<Context><JarScanner scanClassPath="false" scanManifest="false"/>{manager}</Context>'
DELTA_MANAGER = """<Manager className="org.apache.catalina.ha.session.DeltaManager" stateTransferTimeout="10"
    sendAllSessions="false" sendAllSessionsSize="1" sendAllSessionsWaitTime="0"/>"""
LOGGING = """handlers = java.util.logging.ConsoleHandler
.handlers = java.util.logging.ConsoleHandler
java.util.logging.ConsoleHandler.formatter = org.apache.juli.OneLineFormatter
"""


class Tomcat:
    """One running Tomcat in a directory of its own. Its log is `base`/log; `stop` ends it."""

    def __init__(self, base: Path, port: int, wars: dict[str, Path], clustered: bool = False) -> None:
        home = Path(os.environ.get("CATALINA_HOME") or "/usr/share/tomcat10")
        for folder in ("conf", "webapps", "logs", "work", "temp"):
            (base / folder).mkdir(parents=True, exist_ok=True)
        web_xml = next(home / folder / "web.xml" for folder in ("etc", "conf") if (home / folder / "web.xml").is_file())
        shutil.copy(web_xml, base / "conf" / "web.xml")
        (base / "conf" / "server.xml").write_text(server_xml(port, clustered))
        (base / "conf" / "context.xml").write_text(CONTEXT_XML.format(manager=DELTA_MANAGER if clustered else ""))
        (base / "conf" / "logging.properties").write_text(LOGGING)
        for context, war in wars.items():
            shutil.copy(war, base / "webapps" / f"{context}.war")
        self.port = port
        self.log = base / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                java_command(home, base), stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=base
            )

    def __repr__(self) -> str:
        return f"<Tomcat on {self.port}, pid {self.process.pid}, exit {self.process.returncode}>"

    def wait_ready(self) -> None:
        """Returns when the port is open, which `bindOnInit` leaves until every context has been tried."""
        deadline = time.monotonic() + START_SECONDS
        # Tomcat tells nobody that it is ready, so its port is asked.
        while True:
            try:
                ask("GET", "/health", port=self.port)
            except ConnectionRefusedError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"{self} is not ready; its log:\n{self.log_text()}") from None
                time.sleep(0.1)
            else:
                return

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)


def java_command(home: Path, base: Path) -> list[str]:
    java = Path(os.environ["JAVA_HOME"], "bin", "java") if os.environ.get("JAVA_HOME") else Path("java")
    packages = ("java.lang", "java.lang.reflect", "java.io", "java.util", "java.util.concurrent")
    return [
        str(java),
        *("-Xms32m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true"),
        f"-Djava.util.logging.config.file={base}/conf/logging.properties",
        "-Djava.util.logging.manager=org.apache.juli.ClassLoaderLogManager",
        *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in packages),
        *("-cp", f"{home}/bin/bootstrap.jar:{home}/bin/tomcat-juli.jar"),
        *(f"-Dcatalina.base={base}", f"-Dcatalina.home={home}", f"-Djava.io.tmpdir={base}/temp"),
        *("org.apache.catalina.startup.Bootstrap", "start"),
    ]


def build(out: Path, version: str, variant: str = "", env: dict[str, str] | None = None) -> str:
    """Runs the build and returns what it says; a failure raises CalledProcessError."""
    command = [sys.executable, str(BUILD), "--version", version, "--out", str(out)]
    command += ["--variant", variant] if variant else []
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=env)
    return done.stdout


@pytest.fixture(scope="module")
def wars(shop_wars: ShopWars) -> dict[str, Path]:
    built = shop_wars.get_all((int(version), variant) for version, variant in WARS.values())
    return dict(zip(WARS, built, strict=True))


@pytest.fixture(scope="module")
def tomcat(wars: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tomcat]:
    instance = Tomcat(tmp_path_factory.mktemp("tomcat"), PORT, wars)
    try:
        instance.wait_ready()
        yield instance
    finally:
        instance.stop()


def download_content(seed: int, length: int) -> bytes:
    """What GET /download promises, computed here from its description."""
    count = 65528 // 32 + 1
    pattern = b"".join(hashlib.sha256(f"{seed}:{i}".encode()).digest() for i in range(count))[:65528]
    blocks = (k.to_bytes(8, "big") + pattern for k in range(length // 65536 + 1))
    return b"".join(blocks)[:length]


def test_the_same_input_gives_the_same_war(wars: dict[str, Path], tmp_path: Path) -> None:
    said = build(tmp_path / "again.war", *WARS["ROOT"])
    content = wars["ROOT"].read_bytes()
    assert (tmp_path / "again.war").read_bytes() == content
    assert hashlib.sha256(content).hexdigest() in said


@pytest.mark.parametrize(
    ("name", "advice"), [("JAVA_HOME", "set JAVA_HOME to a JDK"), ("CATALINA_HOME", "set CATALINA_HOME to a Tomcat")]
)
def test_a_missing_tool_is_an_error_that_says_what_to_set(tmp_path: Path, name: str, advice: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        build(tmp_path / "x.war", "1", env={**os.environ, name: str(tmp_path)})
    assert failed.value.returncode == 2
    assert advice in failed.value.stderr
    assert list(tmp_path.iterdir()) == []


def test_health_names_the_version(tomcat: Tomcat) -> None:
    answer = ask("GET", "/health")
    assert (answer.status, answer.body) == (200, b"ok 1\n")
    assert answer.headers["X-Shop-Version"] == "1"


def test_a_page_names_its_version_and_assets_that_are_exactly_right(tomcat: Tomcat) -> None:
    names: dict[str, set[str]] = {}
    for base, version in (("", "1"), ("/next", "2")):
        page = ask("GET", f"{base}/")
        text = page.body.decode()
        assert page.status == 200
        assert page.headers["X-Shop-Version"] == version
        assert f'<meta name="shop-version" content="{version}">' in text
        assert page.headers["Set-Cookie"] is None
        links = re.findall(rf'(?:href|src)="({base}/static/[a-z]+\.([0-9a-f]{{16}})\.(css|js|png))"', text)
        assert {kind for _, _, kind in links} == {"css", "js", "png"}
        for path, digest, _ in links:
            asset = ask("GET", path)
            assert asset.status == 200
            assert hashlib.sha256(asset.body).hexdigest()[:16] == digest
            assert "immutable" in asset.headers["Cache-Control"]
        names[version] = {digest for _, digest, _ in links}
    assert names["1"].isdisjoint(names["2"])


def test_a_session_keeps_its_cart(tomcat: Tomcat) -> None:
    assert ask("GET", "/cart").status == 401
    assert send_form("/cart", "item=tea").status == 401
    login = send_form("/login", "user=ada")
    empty = {"version": "1", "user": "ada", "counter": 0, "items": {}}
    assert (login.status, login.json) == (200, empty)
    for item in ("tea", "jam", "tea"):
        added = send_form("/cart", f"item={item}", login.cookie)
    cart = {"version": "1", "user": "ada", "counter": 3, "items": {"jam": 1, "tea": 2}}
    assert added.json == cart
    assert ask("GET", "/cart", headers=login.cookie).json == cart
    assert "ada has added 3" in ask("GET", "/", headers=login.cookie).body.decode()
    again = send_form("/login", "user=ada", login.cookie)
    assert again.cookie != login.cookie
    assert again.json == empty


def test_a_full_cart_refuses_another_kind_of_item_and_stays_whole(tomcat: Tomcat) -> None:
    cookie = send_form("/login", "user=ada").cookie
    for i in range(200):
        assert send_form("/cart", f"item=item-{i}", cookie).status == 200
    assert send_form("/cart", "item=one-more", cookie).status == 409
    assert send_form("/cart", "item=item-0", cookie).json["counter"] == 201


def test_one_sessions_counter_has_no_gap_and_no_double_under_parallel_requests(tomcat: Tomcat) -> None:
    first = ask("GET", "/counter")
    assert first.json["counter"] == 1
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask("GET", "/counter", headers=first.cookie), range(80)))
    assert sorted(answer.json["counter"] for answer in answers) == list(range(2, 82))


@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_is_answered_with_its_digest(tomcat: Tomcat, chunked: bool) -> None:
    body = os.urandom(300_001)
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
    pieces = (body[at : at + 7001] for at in range(0, len(body), 7001))
    connection.request("POST", "/upload", pieces if chunked else body, encode_chunked=chunked)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    assert answer == {"version": "1", "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}


@pytest.mark.parametrize("length", [0, 1, 65535, 65536, 65537, 1_000_000])
@pytest.mark.parametrize("chunked", [0, 1])
def test_a_download_is_what_it_promises(tomcat: Tomcat, length: int, chunked: int) -> None:
    answer = ask("GET", f"/download?bytes={length}&seed=7&chunked={chunked}")
    assert answer.body == download_content(7, length)
    assert answer.headers["Content-Length"] == (None if chunked else str(length))


def test_a_slow_page_takes_as_long_as_asked(tomcat: Tomcat) -> None:
    started = time.monotonic()
    assert ask("GET", "/slow?ms=300").json == {"version": "1", "ms": 300}
    assert time.monotonic() - started >= 0.3


def test_events_come_in_order_and_end(tomcat: Tomcat) -> None:
    answer = ask("GET", "/events?count=3&interval=20")
    assert answer.headers.get_content_type() == "text/event-stream"
    events = answer.body.decode().split("\n\n")
    expected = [f'id: {n}\ndata: {{"version":"1","n":{n}}}' for n in (1, 2, 3)]
    assert events == [*expected, "event: end\ndata: 3", ""]


async def test_the_websocket_echoes_text_and_bytes(tomcat: Tomcat) -> None:
    url = f"ws://127.0.0.1:{PORT}/echo"
    async with aiohttp.ClientSession() as session, session.ws_connect(url, max_msg_size=0) as socket:
        await socket.send_str("grüße")
        assert await socket.receive_str(timeout=10) == "grüße"
        body = os.urandom(1 << 20)
        await socket.send_bytes(body)
        assert await socket.receive_bytes(timeout=10) == body
        await socket.send_bytes(body + b"!")
        assert (await socket.receive(timeout=10)).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG


def test_whoami_says_what_the_application_was_told(tomcat: Tomcat) -> None:
    answer = ask("GET", "/whoami", headers={"X-Odd": 'a "quoted" \\ value'}).json
    assert (answer["version"], answer["variant"], answer["slot_port"]) == ("1", "", PORT)
    assert answer["remote_address"] == "127.0.0.1"
    assert answer["headers"]["x-odd"] == ['a "quoted" \\ value']


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/error", 500),
        ("/error?status=503", 503),
        ("/error?status=200", 400),
        ("/slow?ms=120001", 400),
        ("/slow?ms=soon", 400),
        ("/download?bytes=2147483649", 400),
        ("/events?count=0", 400),
        ("/static/app.0000000000000000.css", 404),
        ("/nothing", 404),
        ("/orders?reference=a", 404),
        ("/orders?reference=", 400),
    ],
)
def test_an_error_has_its_status(tomcat: Tomcat, path: str, status: int) -> None:
    assert ask("GET", path).status == status


def test_the_variant_that_fails_to_start_serves_nothing_and_logs_why(tomcat: Tomcat) -> None:
    assert ask("GET", "/shop-fails-to-start/health").status == 404
    log = tomcat.log_text()
    assert "shop 3 cannot start: its order database does not answer" in log
    assert "Caused by: java.net.ConnectException: Connection refused: orders.example:5432" in log


def test_the_variant_that_fails_its_smoke_test_starts_and_is_not_healthy(tomcat: Tomcat) -> None:
    answer = ask("GET", "/shop-fails-smoke/health")
    assert answer.status == 500
    assert b"database schema is too old" in answer.body
    assert ask("GET", "/shop-fails-smoke/").status == 200


def test_the_variant_errors_fails_every_fifth_request_but_its_health(tomcat: Tomcat) -> None:
    statuses = [ask("GET", "/shop-errors/whoami").status for _ in range(20)]
    assert statuses.count(500) == 4
    assert statuses.count(200) == 16
    assert {ask("GET", "/shop-errors/health").status for _ in range(10)} == {200}


def test_the_variant_slow_takes_800_ms_longer_for_a_page(tomcat: Tomcat) -> None:
    started = time.monotonic()
    assert ask("GET", "/shop-slow/").status == 200
    assert time.monotonic() - started >= 0.8


def test_the_variant_not_serializable_fails_at_login(tomcat: Tomcat) -> None:
    assert ask("GET", "/shop-not-serializable/health").status == 200
    assert send_form("/shop-not-serializable/login", "user=ada").status == 500
    assert "IllegalArgumentException" in tomcat.log_text()


def test_a_session_goes_over_to_the_next_version_but_not_to_a_changed_class(
    wars: dict[str, Path], tmp_path: Path
) -> None:
    left = Tomcat(tmp_path / "left", LEFT, {"ROOT": wars["ROOT"]}, clustered=True)
    running = [left]
    try:
        left.wait_ready()
        cookie = send_form("/login", "user=ada", port=LEFT).cookie
        send_form("/cart", "item=tea", cookie, port=LEFT)
        for context, kept in (("shop-session-class", False), ("next", True)):
            right = Tomcat(tmp_path / context, RIGHT, {"ROOT": wars[context]}, clustered=True)
            running.append(right)
            right.wait_ready()
            answer = ask("GET", "/cart", headers=cookie, port=RIGHT)
            if kept:
                cart = {"version": "2", "user": "ada", "counter": 1, "items": {"tea": 1}}
                assert (answer.status, answer.json) == (200, cart)
            else:
                assert answer.status == 401
                assert "InvalidClassException" in right.log_text()
            right.stop()
    finally:
        for instance in running:
            instance.stop()
