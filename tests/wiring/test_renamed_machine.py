"""A machine that gets another host name goes on with its ledger, also in a ring of routes with a folder."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from skyferry.config.settings import Settings
from skyferry.observe import Fanout
from skyferry.wiring import build_service, identities

PATIENCE = 60.0  # seconds
Run = Callable[[str], None]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Two folders that are kept alike, and a function that runs the service on a machine until nothing is left to do."""
    for name in "ab":
        (tmp_path / name).mkdir()
    document = {
        "workspace": tmp_path,
        "ledger": {"url": "sqlite://ledger.db"},
        "queues": [{"name": "q", "url": "sqlite://queue.db"}],
        "stores": {name: {"url": f"file://{tmp_path / name}"} for name in "ab"},
        "routes": [
            {"name": "there", "from": "a", "to": "b", "ring": "allow"},
            {"name": "back", "from": "b", "to": "a", "ring": "allow"},
        ],
    }

    async def serve() -> None:
        async with asyncio.timeout(PATIENCE), build_service(Settings.model_validate(document), Fanout(())) as service:
            await service.run(until_idle=True)
            assert await service.ledger.count_held_deletes() == []

    def run_on(machine: str) -> None:
        monkeypatch.setattr(identities, "identify_machine", lambda: machine)
        asyncio.run(serve())

    return run_on


def test_nothing_is_copied_again_on_a_renamed_machine(run: Run, tmp_path: Path) -> None:
    """An object that was deleted in the first folder has its copy in the second, which does not go back."""
    (tmp_path / "a" / "kept").write_text("1")
    (tmp_path / "a" / "deleted").write_text("2")
    run("one")
    before = (tmp_path / "b" / "kept").stat()
    (tmp_path / "a" / "deleted").unlink()
    for machine in ("one", "two"):
        run(machine)
        assert not (tmp_path / "a" / "deleted").exists()
    assert (tmp_path / "b" / "deleted").read_text() == "2"
    after = (tmp_path / "b" / "kept").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize(("machine", "returns"), [("one", False), ("two", True)])
def test_copies_go_back_once_without_the_ledger(run: Run, tmp_path: Path, machine: str, returns: bool) -> None:
    """The marks of the copies name another machine. With the same name, they end the ring."""
    (tmp_path / "a" / "deleted").write_text("2")
    run("one")
    (tmp_path / "a" / "deleted").unlink()
    for file in tmp_path.glob("*.db*"):
        if file.is_file():
            file.unlink()
    run(machine)
    assert (tmp_path / "a" / "deleted").exists() is returns
