"""Each test ends with the same questions: is anything left, was everything counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from playbook import Peer, Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(params=[False, True], ids=["whole", "bytewise"])
def piecewise(request: pytest.FixtureRequest) -> bool:
    """Whether what peers send comes one byte at a time."""
    return bool(request.param)


@pytest.fixture
def build(tmp_path: Path, piecewise: bool) -> Iterator[Callable[..., Site]]:
    """Makes sites with settings of their own."""
    sites: list[Site] = []

    def build(**settings: Any) -> Site:
        directory = tmp_path / str(len(sites))
        directory.mkdir()
        site = Site(directory, piecewise=piecewise, **settings)
        sites.append(site)
        return site

    yield build
    for site in sites:
        site.finish()


@pytest.fixture
def site(build: Callable[..., Site]) -> Site:
    return build()


@pytest.fixture
def client(site: Site) -> Peer:
    return site.client()
