"""The doctor says which limits are shared, and with whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from skyferry.config.settings import Settings
from skyferry.doctor.check import CheckState
from skyferry.doctor.examine import Scope, examine
from skyferry.doctor.ledger.limits import check_shared_limits


def settings(folder: Path, ledger: str) -> Settings:
    for name in ("a", "b"):
        (folder / name).mkdir(exist_ok=True)
    stores = {
        "a": {"url": "file://a", "requests_per_second": 5},
        "b": {"url": "file://b", "shared_limits": True, "requests_per_second": 2.5, "bytes_per_second": "1MiB"},
        "c": {"url": "s3://c", "shared_limits": True},
    }
    routes = [{"name": "r", "from": "a", "to": "b"}]
    return Settings.model_validate({"workspace": folder, "stores": stores, "routes": routes, "ledger": {"url": ledger}})


@pytest.mark.parametrize("ledger", ["sqlite://ledger.db", "postgresql://db/x", "redis://127.0.0.1/x"])
def test_each_store_is_named_with_its_limits(tmp_path: Path, ledger: str) -> None:
    """A ledger in a file shares them on one machine only."""
    found = {c.where: (c.name, c.state, c.detail) for c in check_shared_limits(settings(tmp_path, ledger), "PLACE")}
    workers = "the processes of this machine alone, through the file" if "sqlite" in ledger else "all workers of"
    assert found == {
        "b": ("limits", CheckState.OK, f"2.5 requests/s, 1,048,576 bytes/s, circuit breaker: with {workers} PLACE"),
        "c": ("limits", CheckState.OK, f"circuit breaker: with {workers} PLACE"),
    }


async def test_it_is_a_line_of_the_store(tmp_path: Path) -> None:
    checks = await examine(settings(tmp_path, "sqlite://ledger.db"), Scope(write=False))
    (line,) = [c for c in checks if c.name == "limits" and c.where == "b"]
    assert str(tmp_path / "ledger.db") in line.detail
    assert not [c for c in checks if c.name == "limits" and c.where == "a"]
