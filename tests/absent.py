"""What a test does whose server is not installed."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

from skyferry.testing.servers import ServerMissing


def absent(missing: ServerMissing) -> NoReturn:
    """Skip it with the command that brings the server; fail where $SKYFERRY_REQUIRED names the server, as CI does."""
    if missing.name in os.environ.get("SKYFERRY_REQUIRED", "").split():
        pytest.fail(str(missing))
    pytest.skip(str(missing))
