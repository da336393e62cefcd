"""Tests of connections run on the event loop of Python, and on uvloop where it is installed."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Mapping

import pytest

Factory = Callable[[], asyncio.AbstractEventLoop]


def list_factories() -> Mapping[str, Factory]:
    """Return the factories of event loops to test with."""
    found: dict[str, Factory] = {"asyncio": asyncio.new_event_loop}
    try:
        found["uvloop"] = importlib.import_module("uvloop").new_event_loop
    except ModuleNotFoundError:
        return found
    return found


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Factory]:
    """Run each test with each of them."""
    return list_factories()
