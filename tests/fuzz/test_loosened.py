"""The rules that `python -m tests.fuzz.loosened` loosens are there; one of them is tried here."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import pytest

from tests.fuzz.loosened import LOOSENINGS, MESSAGES, ROOT, Loosening, copy_project, noticed_by

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("loosening", LOOSENINGS, ids=lambda loosening: loosening.rule)
def test_each_rule_is_there_to_be_loosened(loosening: Loosening) -> None:
    text = (ROOT / loosening.path).read_text()
    loosened = loosening.apply(text)
    assert loosened != text
    module = loosening.path.removesuffix(".py").replace("/", ".")
    importlib.import_module(module)  # dataclasses look for it
    exec(compile(loosened, loosening.path, "exec"), {"__name__": module})


def test_a_file_that_has_changed_is_an_error() -> None:
    with pytest.raises(ValueError, match="a Host: x has 'if' 2 times"):
        Loosening("a Host", "x", (("if", "when"),)).apply("if if")


def test_a_loosened_rule_is_noticed(tmp_path: Path) -> None:
    copy_project(tmp_path)
    assert MESSAGES[0] in noticed_by(LOOSENINGS[0], tmp_path)
    assert (tmp_path / LOOSENINGS[0].path).read_text() == (ROOT / LOOSENINGS[0].path).read_text()
