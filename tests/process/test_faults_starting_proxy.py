"""The proxy's supervisor starts again in a release: its admin API is there before its apps are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fake_proxy import FakeProxy, problem
from ports import free_ports

from deployer.clock import SystemClock
from deployer.proxy_client import ProxyClient, ProxyRefused

if TYPE_CHECKING:
    from pathlib import Path


class StartingProxy(FakeProxy):
    """Its first `starting` answers are 503."""

    starting = 2

    def answer(self, method: str, path: str, body: dict[str, Any], token: str | None) -> tuple[int, dict[str, Any]]:
        if self.starting:
            self.starting -= 1
            return 503, problem(503, "the proxy is starting")
        return super().answer(method, path, body, token)


def test_a_release_waits_for_a_proxy_that_starts(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    port, one, two = free_ports(3)
    with StartingProxy(port, {"production": one, "temp": two}) as proxy:
        with pytest.raises(ProxyRefused, match="the proxy is starting"):
            ProxyClient(proxy.url, "shop", tmp_path / "token", SystemClock()).app()
        patient = ProxyClient(proxy.url, "shop", tmp_path / "token", SystemClock(), patience=20)
        assert patient.app().active == "production"
        assert proxy.starting == 0
