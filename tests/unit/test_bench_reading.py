"""What the benchmark reads: /proc, wrk's and strace's output, sampled stacks, HTTP answers."""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

from benchmarks import flame, measure, procfs, servers, stacks, works
from benchmarks.download import Client, DownloadError, body_length, percentile, run
from benchmarks.hot_path import parse_strace
from benchmarks.machine import cpu_model
from benchmarks.measure import Bounds, downloader, lines_expected, parse_load, wrk
from benchmarks.model import Source
from benchmarks.processes import Cores, make_site, parse_stub_status, started
from benchmarks.sink import Sink, upload
from benchmarks.stacks import Cost, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_stat_is_read_though_the_process_has_a_strange_name() -> None:
    line = "42 (a b) (c) S 7 42 42 0 -1 4194304 1 2 3 4 150 250 0 0 20 0 1 0 100 1 1"
    assert procfs.parse_stat(line) == (7, 150, 250)


def test_kib_lines_are_bytes_and_absent_ones_nothing() -> None:
    text = "Rss:                 100 kB\nPss:                  40 kB\n"
    assert procfs.parse_kib(text, "Rss") == 102_400
    assert procfs.parse_kib(text, "Pss") == 40_960
    assert procfs.parse_kib(text, "VmHWM") == 0


def test_busy_ticks_leave_out_idleness_and_waiting_for_disks() -> None:
    assert procfs.parse_busy("cpu  1 2 4 1000 2000 8 16 32 0 0\ncpu0 9 9 9 9 9 9 9 9 0 0\n") == 63


def test_placeholders_are_filled_and_unknown_ones_refused() -> None:
    assert servers.render("listen @PORT@; $host @PORT@", {"PORT": 80}) == "listen 80; $host 80"
    with pytest.raises(servers.BenchError, match="@PROT@"):
        servers.render("listen @PROT@;", {"PORT": 80})


@pytest.mark.parametrize("choose", [servers.choose, works.choose])
def test_unknown_names_are_refused_with_the_known_ones(choose: object) -> None:
    with pytest.raises(servers.BenchError) as caught:
        choose(("nothing",))  # type: ignore[operator]
    assert "nothing" in str(caught.value)
    assert "choose from" in caught.value.advice


def test_a_server_takes_only_works_that_it_can_do_and_that_tell_something() -> None:
    by_name = {server.name: server for server in servers.SERVERS}
    (small,) = works.choose(("proxied-1k",))
    (static,) = works.choose(("static-10k",))
    (two,) = works.choose(("two-workers",))
    assert by_name["nginx"].takes(small)
    assert not by_name["nginx-tuned"].takes(small)
    assert by_name["nginx-tuned"].takes(static)
    assert by_name["nginx-buffered"].takes(small)
    assert not by_name["haproxy"].takes(static)
    assert not by_name["aiohttp"].takes(two)


def test_every_template_can_be_filled() -> None:
    ports = ("PORT", "BACKEND_PORT", "SECOND_BACKEND_PORT", "ADMIN_PORT")
    names = (*ports, "DIR", "LOG", "STATIC_ROOT", "ROOT", "WORKERS", "TUNING", "LOG_OPTIONS", "BODY_1K")
    values = dict.fromkeys(names, "x")
    for server in (*servers.SERVERS, servers.BACKEND):
        if server.template:
            assert "@" not in servers.render((servers.TEMPLATES / server.template).read_text(), values)


def test_stub_status() -> None:
    text = "Active connections: 3 \nserver accepts handled requests\n 10 10 250 \nReading: 0 Writing: 1 Waiting: 2 \n"
    assert parse_stub_status(text) == (10, 250)


def test_the_summary_line_is_found_among_wrks_own_output() -> None:
    output = 'Running 2s test\nSUMMARY {"requests": 5, "seconds": 2.0, "received": 99, "errors": 1, "p50_us": 1.5}\n'
    load = parse_load(output)
    assert (load.requests, load.errors, load.p50_us, load.max_us) == (5, 1, 1.5, 0.0)
    with pytest.raises(servers.BenchError, match="no summary"):
        parse_load("unable to connect")


def test_load_commands_carry_the_works_numbers() -> None:
    (work,) = works.choose(("proxied-1m",))
    argv = downloader(work, 18510, Bounds(3, 0.5))
    assert argv[argv.index("--max-requests") + 1] == "2000"
    assert argv[argv.index("--path") + 1] == "/1m.bin"
    (small,) = works.choose(("connections-1000",))
    argv = wrk(small, 18510, 7)
    assert argv[argv.index("-c") + 1] == "1000"
    assert argv[-1] == "http://127.0.0.1:18510/1k.bin"
    assert small.source is Source.PROXIED


def test_works_of_a_group_are_measured_together_by_the_same_servers() -> None:
    chosen = works.choose(("proxied-1k", "connections-10", "connections-5000", "idle"))
    names = [[work.name for work in group] for group in works.together(chosen)]
    assert names == [["proxied-1k"], ["connections-10", "connections-5000"], ["idle"]]
    for group in works.together(works.WORKS):
        assert len({(work.repeat, work.workers, work.shared_cores, work.kind) for work in group}) == 1


def test_a_measurement_waits_until_what_was_loaded_before_has_come_to_rest() -> None:
    busy = iter((1.0, 1.4, 1.4, 1.6, 1.6, 1.61))
    pauses: list[float] = []
    measure.wait_for_rest(lambda: next(busy), pauses.append)
    assert pauses == [measure.REST_LOOK] * 3
    with pytest.raises(servers.BenchError, match=r"still use 2\.00 cores"):
        measure.wait_for_rest(iter(range(1000)).__next__, pauses.append)
    assert sum(pauses[3:]) == measure.REST_SECONDS


def test_the_works_that_servers_are_limited_to_exist() -> None:
    for server in servers.SERVERS:
        assert len(works.choose(server.works)) == len(server.works or works.WORKS)


def test_nginx_buffers_its_log_only_where_its_name_says_so() -> None:
    template = (servers.TEMPLATES / "nginx.conf").read_text()
    lines = {}
    for server in servers.SERVERS:
        if server.template == "nginx.conf":
            places = dict.fromkeys(servers.PLACEHOLDER.findall(template), "x") | {"LOG_OPTIONS": server.log_options}
            text = servers.render(template, places)
            lines[server.name] = next(line.strip() for line in text.splitlines() if "access_log" in line)
    assert lines == {
        "nginx": "access_log x combined;",
        "nginx-tuned": "access_log x combined;",
        "nginx-buffered": "access_log x combined buffer=64k flush=1s;",
    }


def test_of_downloads_every_line_is_expected_and_of_small_requests_nearly_every_one() -> None:
    small, large = works.choose(("proxied-1k", "static-100m"))
    assert lines_expected(large, 60) == 60
    assert lines_expected(small, 60) == 59
    assert lines_expected(small, 1000) == 980


@pytest.mark.parametrize(
    ("available", "server", "load"), [((0, 1), (0,), (1,)), ((2, 3, 5), (2,), (3, 5)), ((0,), (), ())]
)
def test_cores_are_split_when_there_are_two(
    available: tuple[int, ...], server: tuple[int, ...], load: tuple[int, ...]
) -> None:
    assert Cores.split(available) == Cores(server, load)


def test_cpu_model() -> None:
    assert cpu_model("processor: 0\nmodel name\t: AMD EPYC\n") == "AMD EPYC"
    assert cpu_model("nothing here") == "unknown"


def test_strace_summary() -> None:
    text = (
        "% time     seconds  usecs/call     calls    errors syscall\n"
        "------ ----------- ----------- --------- --------- ----------------\n"
        " 70.00    0.070000           7     10000           write\n"
        " 30.00    0.030000           3     10001        12 read\n"
        "------ ----------- ----------- --------- --------- ----------------\n"
        "100.00    0.100000           5     20001        12 total\n"
    )
    assert parse_strace(text) == {"write": 10_000, "read": 10_001}


LOOP = "uv_run (core.c:464)"
OURS = "Client.data_received (proxy/net/downstream.py:70)"


def test_raw_stacks_are_parsed_without_reference_counting_waiting_threads_and_other_lines() -> None:
    waiting = "Thread.run (threading.py:982);PyThread_acquire_lock_timed (libpython3.11.so.1.0);0x7f3f (libc.so.6) 90"
    text = f"{LOOP};Py_DECREF (object.h:537);{OURS} 12\nnot a stack\n{waiting}\n"
    assert stacks.parse(text) == [Stack((LOOP, OURS), 12)]


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ((LOOP, OURS), Cost.OURS),
        ((LOOP, OURS, "0x7f8114b70b2c (libc.so.6)"), Cost.OURS),
        ((LOOP, OURS, "_sre_SRE_Pattern_match (libpython3.11.so.1.0)", "malloc (libc.so.6)"), Cost.PATTERN),
        ((LOOP, OURS, "UVStream_write (loop.c:11)", "write (libc.so.6)"), Cost.SYSTEM),
        ((LOOP, OURS, "UVStream_write (loop.c:11)", "write (loop.c:110207)"), Cost.LOOP),
        ((LOOP, "epoll_pwait (libc.so.6)"), Cost.SYSTEM),
        ((LOOP, OURS, "poll (libc.so.6)", "0x7f97631988bf (libc.so.6)"), Cost.SYSTEM),
        ((LOOP, "run (asyncio/runners.py:118)"), Cost.OTHER),
        ((), Cost.OTHER),
    ],
)
def test_a_sample_is_put_to_what_its_innermost_frames_say(frames: tuple[str, ...], expected: Cost) -> None:
    assert stacks.cost(Stack(frames, 1)) is expected


def test_samples_are_weighted_to_the_kernels_account_of_user_and_system_time() -> None:
    samples = [Stack((LOOP, OURS), 1), Stack((LOOP,), 1), Stack((LOOP, OURS, "write (libc.so.6)"), 6)]
    assert [s.count for s in stacks.weigh(samples, user=2.0, system=3.0)] == [1_000_000, 1_000_000, 3_000_000]
    assert stacks.weigh(samples[:2], user=2.0, system=0.0) == samples[:2]


def test_functions_are_sorted_by_their_samples_and_the_loop_has_its_own_row() -> None:
    samples = [
        Stack((LOOP, OURS), 3),
        Stack((LOOP, OURS, "write (libc.so.6)"), 4),
        Stack((LOOP, OURS, "Pool.send (/home/x/proxy/net/upstream.py:9)"), 2),
        Stack((LOOP,), 1),
    ]
    rows = stacks.by_function(samples)
    assert [(row.function, row.samples) for row in rows] == [
        ("net/downstream.py Client.data_received", 7),
        ("net/upstream.py Pool.send", 2),
        ("(event loop)", 1),
    ]
    assert rows[0].costs[Cost.SYSTEM] == 4
    assert stacks.by_system_call(samples) == {"write": 4}


def test_the_flame_graph_is_xml_with_a_box_for_each_function_and_none_for_what_started_the_loop() -> None:
    samples = [Stack(("<module> (cli.py:1)", LOOP, OURS, "write (libc.so.6)"), 3), Stack((LOOP, OURS), 1)]
    root = ElementTree.fromstring(flame.draw(samples, "caption <&>"))
    titles = [element.text for element in root.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == [
        "all: 100.0%",
        "uv_run: 100.0%",
        "net/downstream.py Client.data_received: 100.0%",
        "write(): 75.0%",
    ]
    assert "no samples" in flame.draw([], "caption")


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\n", "not 200"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "no Content-Length"),
    ],
)
def test_a_wrong_answer_is_an_error(head: bytes, message: str) -> None:
    with pytest.raises(DownloadError, match=message):
        body_length(head)


def test_percentiles_are_microseconds() -> None:
    times = [number / 1000 for number in range(1, 101)]
    assert percentile(times, 0.5) == pytest.approx(51_000)
    assert percentile(times, 1.0) == pytest.approx(100_000)
    assert percentile([], 0.5) == 0


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, Client]]:
    server, client = socket.socketpair()
    with server, client:
        client.setblocking(False)
        yield server, Client(client, b"GET\r\n", 6, time.monotonic, bytearray(64))


HEAD = b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 6\r\n\r\n"


def test_a_download_is_complete_when_the_announced_bytes_have_come(ends: tuple[socket.socket, Client]) -> None:
    server, client = ends
    client.ask()
    assert server.recv(100) == b"GET\r\n"
    server.sendall(HEAD[:20])
    assert not client.readable()
    server.sendall(HEAD[20:] + b"abc")
    assert not client.readable()
    server.sendall(b"def")
    assert client.readable()
    assert client.received == len(HEAD) + 6
    assert len(client.times) == 1


def test_a_run_ends_at_its_number_of_requests(ends: tuple[socket.socket, Client]) -> None:
    server, client = ends
    server.sendall(HEAD + b"abcdef")
    load = run([client], seconds=5, max_requests=1, clock=time.monotonic)
    assert (load.requests, load.errors, load.received) == (1, 0, len(HEAD) + 6)


@pytest.mark.parametrize("answer", [HEAD + b"abc", HEAD[:30], HEAD.replace(b"6", b"7"), HEAD + b"abcdefg"])
def test_a_short_long_or_cut_off_answer_is_an_error(ends: tuple[socket.socket, Client], answer: bytes) -> None:
    server, client = ends
    server.sendall(answer)
    server.shutdown(socket.SHUT_WR)
    load = run([client], seconds=5, max_requests=1, clock=time.monotonic)
    assert (load.requests, load.errors) == (0, 1)


@pytest.mark.parametrize("size", [0, 1, 63, 2**20 - 1, 2**20 + 7])
def test_the_sink_counts_an_upload_in_chunks(size: int) -> None:
    with Sink(0) as sink:
        assert upload(sink.port, size, 5, chunked=True) == size
        assert sink.bodies == [size]


@pytest.mark.parametrize(
    "body",
    [b"3\r\nabc\r\n", b"3\r\nabcd\r\n0\r\n\r\n", b"x\r\n", b"3\r\nab", b"0\r\n", b"1" * 100, b"5\r\nabcde\r", b""],
)
def test_the_sink_counts_no_chunks_that_are_cut_off_or_wrong(body: bytes) -> None:
    with Sink(0) as sink:
        with socket.create_connection(("127.0.0.1", sink.port)) as connection:
            connection.sendall(b"POST /upload HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(100) == b""
        assert sink.bodies == []


def test_the_sink_counts_an_upload_and_not_one_that_is_cut_off() -> None:
    with Sink(0) as sink:
        with socket.create_connection(("127.0.0.1", sink.port), timeout=5) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n12345")
        assert upload(sink.port, 3 * 2**20 + 7, 5) == 3 * 2**20 + 7
        assert sink.bodies == [3 * 2**20 + 7]


PARENT = """
import signal, subprocess, sys, time
code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


def test_stopping_a_server_ends_all_its_processes(tmp_path: Path) -> None:
    server = servers.Server("parent", "", 18590, (sys.executable, "-c", PARENT), ("true",))
    site = make_site(tmp_path, sizes=(1024,))
    with started(server, tmp_path, site, 1, ()) as running:
        deadline = time.monotonic() + 20
        while not (printed := (running.directory / "stdout").read_text().strip()) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(running.pids()) == 2
        assert running.usage().rss > 0
    assert not running.alive()
    assert not Path("/proc", printed, "exe").exists()
