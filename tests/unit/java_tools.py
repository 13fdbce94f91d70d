"""Runs a JDK's tools for tests that hold this project's reading of class files against Java's own."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from deployer.java.class_file import read_header
from deployer.java.classes import Classes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SECONDS = 60
HAS_JDK = shutil.which("javac") is not None and shutil.which("java") is not None
QUICK = ("-J-XX:TieredStopAtLevel=1", "-J-XX:+UseSerialGC")

SESSION = "package jakarta.servlet.http; public interface HttpSession { void setAttribute(String n, Object v); %s }"


def compile_java(sources: Mapping[str, str], to: Path, *options: str) -> Path:
    """Compiles sources by file name (p/Thing.java) to the directory `to`."""
    source = to.with_name(f"{to.name}-src")
    files = []
    for name, text in sources.items():
        file = source / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        files.append(str(file))
    command = ["javac", *QUICK, "-nowarn", "-encoding", "UTF-8", "-proc:none", *options, "-d", str(to), *files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return to


def run(*command: str) -> str:
    """A tool's output. Its errors fail the test."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def classes_in(directory: Path) -> Classes:
    """The classes below a directory."""
    files = {str(file.relative_to(directory))[: -len(".class")]: file for file in directory.rglob("*.class")}
    headers = {name: read_header(file.read_bytes()) for name, file in files.items()}
    return Classes(headers, lambda name: files[name].read_bytes())
