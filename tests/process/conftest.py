"""Two backends and a proxy before them, for each test anew."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from proxy_process import Backend, ProxyProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture(scope="session", autouse=True)
def no_public_authorities() -> Iterator[None]:
    """aiohttp reads all of the machine's certificate authorities when it is imported: a tenth of a second of every
    proxy's start, and here nobody asks a public server."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SSL_CERT_FILE", os.devnull)
        environment.setenv("SSL_CERT_DIR", os.devnull)
        yield


@pytest.fixture
async def backends() -> AsyncIterator[dict[str, Backend]]:
    backends = {name: await Backend(name).start() for name in ("production", "temp")}
    yield backends
    for backend in backends.values():
        await backend.stop()


@pytest.fixture
async def proxy(tmp_path: Path, backends: dict[str, Backend]) -> AsyncIterator[ProxyProcess]:
    proxy = ProxyProcess(tmp_path, backends)
    proxy.configure()
    try:
        yield await proxy.start()
    finally:
        await proxy.stop()
