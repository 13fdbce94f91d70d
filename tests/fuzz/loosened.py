"""Do the tests notice? `python -m tests.fuzz.loosened` loosens one rule after the other.

The corpus and the differential tests must notice what is loosened in the grammar, the heads and the bodies; the
transcripts, what is loosened where a backend's connection is kept.

Each is loosened in a copy of the tree, where the tests must then fail. It takes some minutes. Arguments: the names of
the rules, or words of them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
GRAMMAR: Final = "proxy/http1/grammar.py"
HEAD: Final = "proxy/http1/head.py"
BODY: Final = "proxy/http1/body.py"
REWRITE: Final = "proxy/http1/rewrite.py"
UPSTREAM: Final = "proxy/net/upstream.py"
MESSAGES: Final = ("tests/fuzz/test_corpus.py", "tests/fuzz/test_differential.py")
TRANSCRIPTS: Final = tuple(
    f"tests/transport/test_{subject}.py" for subject in ("relay", "interim", "tunnels", "early_response")
)
PARTS: Final = ("proxy", "tests/fuzz", "tests/transport")


@dataclass(frozen=True, slots=True)
class Loosening:
    """`edits`: (text that stands in the file exactly once, text in its place)."""

    rule: str
    path: str
    edits: tuple[tuple[str, str], ...]
    layers: tuple[str, ...] = MESSAGES

    def apply(self, text: str) -> str:
        """Raises ValueError when the file has changed, so that this must, too."""
        for old, new in self.edits:
            if text.count(old) != 1:
                raise ValueError(f"{self.rule}: {self.path} has {old!r} {text.count(old)} times")
            text = text.replace(old, new)
        return text


def _one(rule: str, path: str, old: str, new: str) -> Loosening:
    return Loosening(rule, path, ((old, new),))


def _upstream(rule: str, old: str, new: str) -> Loosening:
    return Loosening(rule, UPSTREAM, ((old, new),), TRANSCRIPTS)


_FIELD: Final = 'FIELDS: Final = rb"(?:" + TOKEN + rb":"'
_VALUE: Final = 'VALUE: Final = rb"[\\t\\x20-\\x7e\\x80-\\xff]*+"'
_LINE_END: Final = 'TOKEN + rb":" + VALUE + rb"\\r\\n)*"'
_BOTH_LENGTHS: Final = "    if chunked and length >= 0:\n        raise "
_CLOSE: Final = 'keep_alive=b"close" not in options and '
_CHUNK_END: Final = 'rb"))?)*)\\r\\n"'

LOOSENINGS: Final = (
    Loosening(
        "no space before the colon",
        GRAMMAR,
        (
            (_FIELD, _FIELD[:-3] + '"[ \\t]*+:"'),
            (
                'FIELD_LINE: Final = re.compile(rb"(" + TOKEN + rb"):(',
                'FIELD_LINE: Final = re.compile(rb"(" + TOKEN + rb")[ \\t]*+:(',
            ),
        ),
    ),
    _one("no empty name", GRAMMAR, _FIELD, 'FIELDS: Final = rb"(?:(?:" + TOKEN + rb")?:"'),
    _one("no fold", GRAMMAR, _LINE_END, 'TOKEN + rb":" + VALUE + rb"(?:\\r\\n[ \\t]" + VALUE + rb")*\\r\\n)*"'),
    Loosening(
        "no bare LF",
        GRAMMAR,
        (
            (_LINE_END, 'TOKEN + rb":" + VALUE + rb"\\r?+\\n)*"'),
            ("PLAUSIBLE: Final = re.compile(", 'PLAUSIBLE: Final = re.compile(rb"(?s:.)*") or re.compile('),
        ),
    ),
    _one("no NUL in a value", GRAMMAR, _VALUE, _VALUE.replace("[", "[\\x00")),
    _one("no bare CR in a value", GRAMMAR, _VALUE, 'VALUE: Final = rb"(?:[\\t\\x20-\\x7e\\x80-\\xff]|\\r(?!\\n))*"'),
    _one(
        "no sign in Content-Length",
        GRAMMAR,
        'CONTENT_LENGTH: Final = re.compile(rb"',
        'CONTENT_LENGTH: Final = re.compile(rb"\\+?+',
    ),
    _one("no space behind Content-Length", GRAMMAR, 'rb"[0-9]{1,18}+")', 'rb"[0-9]{1,18}+[ \\t]*+")'),
    _one(
        "one Content-Length",
        HEAD,
        "if length >= 0 or CONTENT_LENGTH.fullmatch(match[2])",
        "if CONTENT_LENGTH.fullmatch(match[2])",
    ),
    _one("one length", HEAD, _BOTH_LENGTHS + "HeadError", "    if False:\n        raise HeadError"),
    _one(
        "no coding but chunked",
        HEAD,
        'or match[2].lower() != b"chunked" or',
        'or not match[2].lower().endswith(b"chunked") or',
    ),
    _one("no coding in 1.0", HEAD, "if chunked or minor == 0 or match[2]", "if chunked or match[2]"),
    _one("a Host", HEAD, "if host is None and minor == 1:", "if False:"),
    _one("one Host", HEAD, "            if host is not None:\n", "            if False:\n"),
    _one("a valid Host", HEAD, "            if not valid_host(value):", "            if False:"),
    _one("one SP in the request line", GRAMMAR, 'rb"(" + TOKEN + rb") (?:("', 'rb"(" + TOKEN + rb") ++(?:("'),
    _one("ASCII targets", GRAMMAR, '_PATH: Final = rb"!$', '_PATH: Final = rb"\\x80-\\xff!$'),
    _one(
        "HTTP/1.0 and 1.1 alone", GRAMMAR, "|([\\x21-\\x7e]++)) HTTP/1\\.([01])", "|([\\x21-\\x7e]++)) HTTP/1\\.([0-9])"
    ),
    _one("no space behind a chunk's size", GRAMMAR, _CHUNK_END, 'rb"))?)*)[ \\t]*+\\r\\n"'),
    _one("no bare LF behind a chunk's size", GRAMMAR, _CHUNK_END, 'rb"))?)*)\\r?+\\n"'),
    _one("CRLF behind a chunk", BODY, 'raise BodyError("a chunk is not followed by CRLF")', "self._owed = 0; continue"),
    _one(
        "no control byte in an extension",
        GRAMMAR,
        "_QUOTED: Final = rb'\"(?:[\\t",
        "_QUOTED: Final = rb'\"(?:[\\x00-\\x08\\t",
    ),
    _one(
        "extensions stay here",
        BODY,
        "            if size_end + 2 < line_end and not self._decode:",
        "            if False:",
    ),
    _one("no framing in trailers", BODY, "if name in _FORBIDDEN_TRAILERS or", "if False or"),
    _one("no twins with _", GRAMMAR, 'b"[-_]" if letter == "-"', 'b"-" if letter == "-"'),
    _one("TE stays here", HEAD, 'te += b"," + value.lower()\n', 'te += b"," + value.lower()\n            continue\n'),
    _one("what Connection names stays here", HEAD, "    if removable:", "    if False:"),
    _one("Connection does not remove Host", HEAD, "if name not in _NOT_REMOVABLE and", "if"),
    _one(
        "one length of a response", HEAD, _BOTH_LENGTHS + "ResponseError", "    if False:\n        raise ResponseError"
    ),
    _one(
        "one Content-Length of a response",
        HEAD,
        "if length >= 0 or CONTENT_LENGTH.fullmatch(field[2])",
        "if CONTENT_LENGTH.fullmatch(field[2])",
    ),
    _one("a status from 100 to 599", GRAMMAR, "([1-5][0-9]{2})", "([0-9]{3})"),
    _one("no control byte in a reason", GRAMMAR, '(?: (" + VALUE + rb"))?', "(?: ([^\\r\\n]*+))?"),
    _one("a first line is refused when it is whole", HEAD, "            and self._may_begin(seen)\n", ""),
    _one("what chunk lines say needlessly is bounded", BODY, "if self._surplus > MAX_SURPLUS +", "if False and"),
    _one(
        "trailers are announced where they are sent", REWRITE, " if head.chunked and not chunked else", " if False else"
    ),
    _one("a 1xx has no length", HEAD, "if status >= 200 and status != 204:", "if status != 204:"),
    _one(
        "Connection says that a 101 switches",
        HEAD,
        'upgrade=upgrade if b"upgrade" in options else b"",',
        "upgrade=upgrade,",
    ),
    _one("h2c is not offered", HEAD, " or _offers_h2c(upgrade):", ":"),
    _one(
        "all lines of Upgrade count", HEAD, 'return b"%b, %b" % (protocols, line) if protocols else line', "return line"
    ),
    _one("close ends a request's connection", HEAD, _CLOSE + "(minor == 1 or", "keep_alive=(minor == 1 or"),
    _one("close ends a response's connection", HEAD, _CLOSE + "(minor or", "keep_alive=(minor or"),
    _one("a request in 1.0 asks for keep-alive", HEAD, '(minor == 1 or b"keep-alive" in options)', "True"),
    _one("a response in 1.0 offers keep-alive", HEAD, '(minor or b"keep-alive" in options)', "True"),
    _upstream("a 101 was asked for", "if not sink.offers(head.upgrade):", "if False:"),
    _upstream("1xx responses are bounded", "if self._interims > MAX_INTERIM:", "if False:"),
    _upstream("a response to HEAD has no body", 'if head.bodiless or sink.method == b"HEAD":', "if head.bodiless:"),
    _upstream("the backend's close is obeyed", "self._keep_alive = head.keep_alive", "self._keep_alive = True"),
    _upstream(
        "bytes behind a sized response reach nobody",
        "            if self._owed < 0:\n                self._keep_alive = False\n",
        "            if self._owed < 0:\n",
    ),
    _upstream(
        "bytes behind a chunked response reach nobody",
        "self._keep_alive = self._keep_alive and not surplus\n",
        "surplus = b''\n",
    ),
    _upstream(
        "a body cut short is not whole", 'self._fail(ResponseError("the response was cut off"))', "self._ended(sink)"
    ),
    _upstream("a connection is kept once the request is sent", "if not request_taken:", "if False:"),
)


def copy_project(tree: Path) -> None:
    """What the layers need."""
    for part in PARTS:
        shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tree)


def noticed_by(loosening: Loosening, tree: Path) -> list[str]:
    """The layers that fail in the copy of the project at `tree`, which is left as it was."""
    path = tree / loosening.path
    before = path.read_text()
    path.write_text(loosening.apply(before))
    try:
        return [layer for layer in loosening.layers if _fails(tree, layer)]
    finally:
        path.write_text(before)


def _fails(tree: Path, tests: str) -> bool:
    command = [sys.executable, "-m", "pytest", "-qx", "-p", "no:cacheprovider", tests]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    shutil.rmtree(tree / ".hypothesis", ignore_errors=True)  # what was found is no help for the next
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{tests} can't be run:\n{done.stdout}{done.stderr}")
    return done.returncode == 1


def main() -> int:
    words = sys.argv[1:]
    unnoticed = 0
    with tempfile.TemporaryDirectory() as directory:
        tree = Path(directory)
        copy_project(tree)
        for loosening in LOOSENINGS:
            if not words or any(word in loosening.rule for word in words):
                layers = noticed_by(loosening, tree)
                unnoticed += not layers
                print(f"{loosening.rule}: {', '.join(layers) or 'NOT NOTICED'}", flush=True)
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
