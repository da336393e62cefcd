"""The simulation takes longest."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """It comes first, so that no process ends long after the others."""
    items.sort(key=lambda item: "tests/simulation/" not in item.nodeid)
