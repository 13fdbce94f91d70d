"""Static files with real files: the index of a root, and the sending of large files over a loopback connection."""

from __future__ import annotations

import asyncio
import hashlib
import os
from array import array
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import uvloop

from proxy.core.files import FileEntry, FileIndex, FileSlices
from proxy.net.file_sender import CHUNK, FileSender
from proxy.net.static import OpenFile, StaticRootError, build_index

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = 2_000_000_000.0


def write(path: Path, content: bytes = b"content", *, modified: int = 1_700_000_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (modified, modified))
    return path


def index_of(root: Path, **options: Any) -> FileIndex:
    return build_index(str(root), clock=lambda: NOW, **options)


def names(index: FileIndex) -> set[str]:
    return set(index.entries)


# --- the index -----------------------------------------------------------------------------------------------------


def test_files_below_the_root_with_their_content(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", b"one")
    write(tmp_path / "d/e/b.txt", b"two")
    write(tmp_path / "ä ö.txt", b"three")
    index = index_of(tmp_path)
    assert names(index) == {"a.txt", "d/e/b.txt", "ä ö.txt"}
    entry = index.entries["d/e/b.txt"]
    assert (entry.size, entry.body, entry.modified, entry.settled) == (3, b"two", 1_700_000_000, True)
    assert entry.disk_path == str(tmp_path.resolve() / "d/e/b.txt")
    assert entry.etag == b'"%b"' % hashlib.sha256(b"two").hexdigest()[:32].encode()
    assert index.skipped == ()


def test_hidden_names_are_left_out(tmp_path: Path) -> None:
    for name in (".env", ".git/config", "d/.htaccess", "d/.well-known/x", "..a", "a..b", "b."):
        write(tmp_path / name)
    assert names(index_of(tmp_path)) == {"a..b", "b."}


def test_links_count_when_they_stay_inside(tmp_path: Path) -> None:
    root = tmp_path / "root"
    secret = write(tmp_path / "secret.txt")
    write(tmp_path / "rootless/x.txt")
    write(root / "a.txt", b"a")
    write(root / "d/b.txt", b"b")
    write(root / ".hidden/c.txt", b"c")
    (root / "file-in").symlink_to("a.txt")
    (root / "dir-in").symlink_to("d")
    (root / "file-out").symlink_to(secret)
    (root / "file-out-relative").symlink_to("../secret.txt")
    (root / "dir-out").symlink_to(tmp_path)
    (root / "dir-beside").symlink_to(tmp_path / "rootless")
    (root / "to-hidden").symlink_to(".hidden")
    (root / "to-hidden-file").symlink_to(".hidden/c.txt")
    (root / "broken").symlink_to("nowhere")
    (root / "itself").symlink_to("itself")
    (root / "d/up").symlink_to("..")
    (root / "to-root").symlink_to(".")
    (root / "chain").symlink_to("file-out")
    index = index_of(root)
    assert names(index) == {"a.txt", "d/b.txt", "file-in", "dir-in/b.txt"}
    assert index.entries["file-in"].body == b"a"
    assert index.entries["dir-in/b.txt"].disk_path == str(root.resolve() / "d/b.txt")
    left_out = {line.partition(":")[0] for line in index.skipped}
    assert left_out >= {
        "file-out",
        "dir-out",
        "dir-beside",
        "to-hidden",
        "broken",
        "itself",
        "d/up",
        "to-root",
        "chain",
    }
    assert "chain: a symbolic link that leads out of the root" in index.skipped


def test_the_root_may_be_a_link_itself(tmp_path: Path) -> None:
    write(tmp_path / "releases/5/a.txt")
    (tmp_path / "current").symlink_to("releases/5")
    index = index_of(tmp_path / "current")
    assert names(index) == {"a.txt"}
    # A release that is taken away from under the link does not take its large files with it unseen.
    assert index.entries["a.txt"].disk_path == str(tmp_path.resolve() / "releases/5/a.txt")


def test_what_is_no_regular_file_is_left_out(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    write(tmp_path / "a.txt")
    index = index_of(tmp_path)
    assert names(index) == {"a.txt"}
    assert [line.partition(":")[0] for line in index.skipped] == ["pipe"]


def test_a_name_that_is_not_utf8_is_left_out(tmp_path: Path) -> None:
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.txt"))).write_bytes(b"x")
    index = index_of(tmp_path)
    assert names(index) == set()
    assert index.skipped == (r"'\udcff.txt': the name is not UTF-8",)


def test_a_missing_root_is_an_empty_index_that_says_so(tmp_path: Path) -> None:
    index = index_of(tmp_path / "later")
    assert names(index) == set()
    assert "is missing" in index.skipped[0]
    write(tmp_path / "later/a.txt")
    assert names(index_of(tmp_path / "later")) == {"a.txt"}


def test_a_root_that_is_a_file_is_an_error_with_advice(tmp_path: Path) -> None:
    file = write(tmp_path / "a.txt")
    with pytest.raises(StaticRootError, match=r"a\.txt: Not a directory") as caught:
        index_of(file)
    assert "static_root" in caught.value.advice


def test_too_many_files_are_an_error(tmp_path: Path) -> None:
    for number in range(5):
        write(tmp_path / f"{number}.txt")
    assert len(names(index_of(tmp_path, max_files=5))) == 5
    with pytest.raises(StaticRootError, match="more than 4 files"):
        index_of(tmp_path, max_files=4)


def test_links_that_multiply_directories_meet_the_bound(tmp_path: Path) -> None:
    """Each level names the next one twice: 2**20 ways to the last."""
    for level in range(20):
        (tmp_path / f"l{level}").mkdir()
        for way in ("a", "b"):
            (tmp_path / f"l{level}" / way).symlink_to(tmp_path / f"l{level + 1}")
    write(tmp_path / "l20/x.txt")
    with pytest.raises(StaticRootError, match="more than 1000 files"):
        index_of(tmp_path, max_files=1000)


def test_small_files_stay_in_memory_the_smallest_first(tmp_path: Path) -> None:
    for name, size in (("a", 40), ("b", 30), ("c", 20), ("d", 60), ("e", 0)):
        write(tmp_path / name, b"x" * size)
    index = index_of(tmp_path, max_file_in_memory=50, max_in_memory=55)
    assert {name for name, entry in index.entries.items() if entry.body is not None} == {"b", "c", "e"}
    assert index.size_in_memory == 50
    assert index.size == 150
    assert len({entry.etag for entry in index.entries.values()}) == 5


def test_a_file_of_tomorrow_is_not_later_than_now(tmp_path: Path) -> None:
    write(tmp_path / "future", modified=int(NOW) + 1000)
    write(tmp_path / "fresh", modified=int(NOW) - 1)
    write(tmp_path / "old", modified=int(NOW) - 2)
    entries = index_of(tmp_path).entries
    assert entries["future"].modified == int(NOW)
    assert [entries[name].settled for name in ("future", "fresh", "old")] == [False, False, True]


def test_what_has_not_changed_is_not_read_again(tmp_path: Path) -> None:
    for name in ("same", "touched", "rewritten", "fresh"):
        write(tmp_path / name, b"before")
    os.utime(tmp_path / "fresh", (NOW, NOW))
    before = index_of(tmp_path)
    write(tmp_path / "touched", b"before", modified=1_700_000_001)
    write(tmp_path / "rewritten", b"after!", modified=1_700_000_001)
    (tmp_path / "fresh").write_bytes(b"after!")  # in the same second as it was read: its time tells nothing
    os.utime(tmp_path / "fresh", (NOW, NOW))
    after = build_index(str(tmp_path), previous=before, clock=lambda: NOW + 10)
    assert after.entries["same"] is before.entries["same"]
    assert after.entries["touched"].etag == before.entries["touched"].etag
    assert after.entries["touched"].modified == 1_700_000_001
    assert after.entries["rewritten"].body == after.entries["fresh"].body == b"after!"


def test_a_file_is_read_again_when_its_place_in_memory_changes(tmp_path: Path) -> None:
    write(tmp_path / "a", b"x" * 100)
    before = index_of(tmp_path, max_file_in_memory=10)
    after = build_index(str(tmp_path), previous=before, clock=lambda: NOW)
    assert before.entries["a"].body is None
    assert after.entries["a"].body == b"x" * 100


class Meddler(dict[str, FileEntry]):
    """What an index knew before: it is asked between the walk and the reading of a file, and then does harm."""

    def __init__(self, harm: Callable[[], object]) -> None:
        self.harm = harm

    def get(self, name: str, default: object = None) -> None:  # type: ignore[override]
        self.harm()


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda path: path.unlink(missing_ok=True), "No such file or directory"),
        (lambda path: (path.unlink(), path.symlink_to("/etc/passwd")), "Too many levels of symbolic links"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "not a regular file"),
        (lambda path: (path.unlink(), path.mkdir()), "not a regular file"),
    ],
)
def test_a_file_that_becomes_another_during_the_walk(
    tmp_path: Path, harm: Callable[[Path], object], reason: str
) -> None:
    write(tmp_path / "a")
    meddled = FileIndex(())
    meddled.entries = Meddler(lambda: harm(tmp_path / "a"))
    index = build_index(str(tmp_path), previous=meddled, clock=lambda: NOW)
    assert names(index) == set()
    assert index.skipped == (f"a: {reason}",)


def test_a_file_that_grows_during_the_walk_is_taken_as_it_is_when_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a", b"x")
    meddled = FileIndex(())
    meddled.entries = Meddler(lambda: path.write_bytes(b"x" * 100))
    entry = build_index(str(tmp_path), previous=meddled, max_file_in_memory=50).entries["a"]
    assert (entry.size, entry.body) == (100, None)


def test_large_files_stay_open_up_to_a_number_of_them(tmp_path: Path) -> None:
    for size in (10, 20, 30, 40):
        write(tmp_path / str(size), b"x" * size)
    before = open_files()
    index = index_of(tmp_path, max_file_in_memory=10, max_open=2)
    assert {name for name, entry in index.entries.items() if entry.handle is not None} == {"20", "30"}
    assert open_files() == before + 2
    again = build_index(str(tmp_path), previous=index, clock=lambda: NOW, max_file_in_memory=10, max_open=2)
    assert again.entries["20"] is index.entries["20"]
    assert open_files() == before + 2
    del index
    assert open_files() == before + 2
    del again
    assert open_files() == before


# --- the sender ----------------------------------------------------------------------------------------------------


class Sink:
    """What a sender writes, and the pause that it meets there."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.on_write: Callable[[], None] = lambda: None
        self.done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def write(self, data: bytes) -> None:
        self.pieces.append(data)
        self.on_write()

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)


def source_of(path: Path, *parts: bytes | tuple[int, int], handle: OpenFile | None = None) -> FileSlices:
    facts = path.stat()
    return FileSlices(str(path), facts.st_size, facts.st_mtime_ns, parts or ((0, facts.st_size),), handle)


def sender_to(sink: Sink, source: FileSlices) -> FileSender:
    return FileSender(asyncio.get_running_loop(), sink, source, sink.done.set_result)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def pattern(size: int) -> bytes:
    return array("I", range(size // 4 + 1)).tobytes()[:size]


@pytest.mark.parametrize("size", [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 5 * CHUNK + 7])
async def test_a_file_is_sent_whole_in_bounded_pieces(tmp_path: Path, size: int) -> None:
    path = write(tmp_path / "a", pattern(size))
    sink = Sink()
    sender_to(sink, source_of(path)).start()
    assert await sink.done
    assert sink.body == pattern(size)
    assert max(map(len, sink.pieces)) <= CHUNK
    assert len(sink.pieces) == -(-size // CHUNK)


async def test_parts_and_literal_bytes_in_their_order(tmp_path: Path) -> None:
    content = pattern(3 * CHUNK)
    path = write(tmp_path / "a", content)
    sink = Sink()
    parts = (b"first", (CHUNK - 5, CHUNK + 10), b"middle", (0, 3), b"", (3 * CHUNK - 1, 1), b"last")
    sender_to(sink, source_of(path, *parts)).start(b"head:")
    assert await sink.done
    assert (
        sink.body
        == b"head:first" + content[CHUNK - 5 : 2 * CHUNK + 5] + b"middle" + content[:3] + content[-1:] + b"last"
    )


async def test_a_pause_stops_after_the_piece_under_way(tmp_path: Path) -> None:
    path = write(tmp_path / "a", pattern(4 * CHUNK))
    sink = Sink()
    sender = sender_to(sink, source_of(path))
    written = asyncio.Event()

    def pause() -> None:
        sender.pause()
        written.set()

    sink.on_write = pause
    sender.start()
    for count in range(1, 5):
        await written.wait()
        written.clear()
        await asyncio.get_running_loop().run_in_executor(None, lambda: None)
        await asyncio.sleep(0)
        assert len(sink.pieces) == count
        assert sender.sent == count * CHUNK
        sender.resume()
        sender.resume()
    assert await sink.done
    assert sink.body == pattern(4 * CHUNK)


async def test_the_last_piece_is_the_end_even_in_a_pause(tmp_path: Path) -> None:
    path = write(tmp_path / "a", b"small")
    sink = Sink()
    sender = sender_to(sink, source_of(path))
    sink.on_write = sender.pause
    sender.start()
    assert await sink.done


@pytest.mark.parametrize("fault", ["gone", "shorter", "longer", "rewritten", "fifo", "link", "directory"])
async def test_another_file_than_the_indexed_one_is_not_begun(tmp_path: Path, fault: str) -> None:
    path = write(tmp_path / "a", pattern(2 * CHUNK))
    source = source_of(path)
    content = {"shorter": pattern(CHUNK), "longer": pattern(3 * CHUNK), "rewritten": b"\xff" * 2 * CHUNK}.get(fault)
    if content is not None:
        write(path, content, modified=1_700_000_001)
    else:
        path.rename(tmp_path / "b")
        if fault == "fifo":
            os.mkfifo(path)
        elif fault == "link":
            path.symlink_to("b")
        elif fault == "directory":
            path.mkdir()
    sink = Sink()
    before = open_files()
    sender = sender_to(sink, source)
    sender.start(b"head")
    assert not await sink.done
    assert (sink.pieces, sender.sent) == ([], 0)
    assert open_files() == before


@pytest.mark.parametrize("fault", ["gone", "replaced"])
async def test_an_open_file_is_sent_whatever_has_its_name(tmp_path: Path, fault: str) -> None:
    path = write(tmp_path / "a", pattern(2 * CHUNK))
    source = source_of(path, handle=OpenFile(os.open(path, os.O_RDONLY)))
    path.unlink()
    if fault == "replaced":
        write(path, b"another")
    for _ in range(2):
        sink = Sink()
        sender_to(sink, source).start(b"head")
        assert await sink.done
        assert sink.body == b"head" + pattern(2 * CHUNK)


async def test_an_open_file_that_was_written_to_is_not_begun(tmp_path: Path) -> None:
    path = write(tmp_path / "a", pattern(2 * CHUNK))
    source = source_of(path, handle=OpenFile(os.open(path, os.O_RDONLY)))
    write(path, b"another")
    sink = Sink()
    sender = sender_to(sink, source)
    sender.start(b"head")
    assert not sink.done.done()
    assert not await sink.done
    assert (sink.pieces, sender.sent) == ([], 0)


async def test_an_open_file_closes_with_its_index_and_the_last_that_is_sent(tmp_path: Path) -> None:
    path = write(tmp_path / "a", pattern(4 * CHUNK))
    before = open_files()
    source = source_of(path, handle=OpenFile(os.open(path, os.O_RDONLY)))
    sink = Sink()
    sender = sender_to(sink, source)
    sink.on_write = sender.cancel
    sender.start()
    del source
    while sender.sent == 0:
        await asyncio.get_running_loop().run_in_executor(None, lambda: None)
        await asyncio.sleep(0)
    assert sink.body == pattern(CHUNK)
    sink.on_write = lambda: None
    del sender
    await asyncio.sleep(0)
    assert open_files() == before


@pytest.mark.parametrize("fault", ["shorter", "rewritten"])
async def test_a_file_that_changes_in_the_middle_ends_in_failure(tmp_path: Path, fault: str) -> None:
    path = write(tmp_path / "a", pattern(4 * CHUNK))
    sink = Sink()
    before = open_files()
    sender = sender_to(sink, source_of(path))

    def change() -> None:
        write(path, pattern(CHUNK) if fault == "shorter" else b"\xff" * 4 * CHUNK, modified=1_700_000_001)

    sink.on_write = change
    sender.start()
    assert not await sink.done
    assert sink.body == pattern(CHUNK)
    assert open_files() == before


async def test_a_file_that_is_removed_or_replaced_in_the_middle_is_sent_to_its_end(tmp_path: Path) -> None:
    path = write(tmp_path / "a", pattern(4 * CHUNK))
    sink = Sink()
    sender = sender_to(sink, source_of(path))

    def replace() -> None:
        write(tmp_path / "b", b"new").replace(path)
        sink.on_write = lambda: None

    sink.on_write = replace
    sender.start()
    assert await sink.done
    assert sink.body == pattern(4 * CHUNK)


async def test_cancel_during_a_read_writes_nothing_more_and_closes_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a", pattern(4 * CHUNK))
    before = open_files()
    sink = Sink()
    sender = sender_to(sink, source_of(path))
    sink.on_write = sender.cancel
    sender.start()
    early = sender_to(sink, source_of(path))
    early.start()
    early.cancel()
    assert "ended" in repr(early)
    while open_files() > before or sender.sent == 0:
        await asyncio.get_running_loop().run_in_executor(None, lambda: None)
        await asyncio.sleep(0)
    sender.resume()
    assert sink.body == pattern(CHUNK)
    assert not sink.done.done()


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_slow_reader_gets_the_whole_file_and_holds_little_of_it(
    tmp_path: Path, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    content = pattern(64 * CHUNK)
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        received, largest_buffer = runner.run(
            asyncio.wait_for(send_to_a_slow_reader(write(tmp_path / "a", content)), 30)
        )
    assert received == b"head" + content
    assert 0 < largest_buffer <= 2 * CHUNK + len(b"head")


async def send_to_a_slow_reader(path: Path) -> tuple[bytes, int]:
    """(what came, the most that waited in the sending transport)."""
    largest_buffer = 0
    behind = asyncio.Event()

    class Connection(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast("asyncio.Transport", transport)
            self.sender = FileSender(asyncio.get_running_loop(), self.transport, source_of(path), self.sent)
            self.transport.set_write_buffer_limits(CHUNK)
            self.sender.start(b"head")

        def pause_writing(self) -> None:
            nonlocal largest_buffer
            largest_buffer = max(largest_buffer, self.transport.get_write_buffer_size())
            self.sender.pause()
            behind.set()

        def resume_writing(self) -> None:
            self.sender.resume()

        def sent(self, whole: bool) -> None:
            assert whole
            self.transport.close()

    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), limit=4096)
        received = [await reader.readexactly(4)]
        await behind.wait()
        while piece := await reader.read(65536):
            received.append(piece)
        writer.close()
        await writer.wait_closed()
    return b"".join(received), largest_buffer
