"""Do the corpus and the differential tests notice? `python -m tests.fuzz.loosened` loosens one rule after the other.

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
LAYERS: Final = ("test_corpus", "test_differential")


@dataclass(frozen=True, slots=True)
class Loosening:
    """`edits`: (text that stands in the file exactly once, text in its place)."""

    rule: str
    path: str
    edits: tuple[tuple[str, str], ...]

    def apply(self, text: str) -> str:
        """Raises ValueError when the file has changed, so that this must, too."""
        for old, new in self.edits:
            if text.count(old) != 1:
                raise ValueError(f"{self.rule}: {self.path} has {old!r} {text.count(old)} times")
            text = text.replace(old, new)
        return text


def _one(rule: str, path: str, old: str, new: str) -> Loosening:
    return Loosening(rule, path, ((old, new),))


_FIELD: Final = 'FIELDS: Final = rb"(?:" + TOKEN + rb":"'
_VALUE: Final = 'VALUE: Final = rb"[\\t\\x20-\\x7e\\x80-\\xff]*+"'
_LINE_END: Final = 'TOKEN + rb":" + VALUE + rb"\\r\\n)*"'
_BOTH_LENGTHS: Final = "    if chunked and length >= 0:\n        raise "
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
        "                if size_end + 2 < line_end and not self._decode:",
        "                if False:",
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
)


def noticed_by(loosening: Loosening, tree: Path) -> list[str]:
    """The layers that fail in the copy of the project at `tree`, which is left as it was."""
    path = tree / loosening.path
    before = path.read_text()
    path.write_text(loosening.apply(before))
    try:
        return [layer for layer in LAYERS if _fails(tree, f"tests/fuzz/{layer}.py")]
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
        for part in ("proxy", "tests/fuzz"):
            shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", tree)
        for loosening in LOOSENINGS:
            if not words or any(word in loosening.rule for word in words):
                layers = noticed_by(loosening, tree)
                unnoticed += not layers
                print(f"{loosening.rule}: {', '.join(layers) or 'NOT NOTICED'}", flush=True)
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
