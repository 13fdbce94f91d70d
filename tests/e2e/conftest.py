"""What all tests with real servers share."""

from __future__ import annotations

import pytest
from shop_wars import ShopWars


@pytest.fixture(scope="session")
def shop_wars(tmp_path_factory: pytest.TempPathFactory) -> ShopWars:
    return ShopWars(tmp_path_factory.mktemp("shop"))
