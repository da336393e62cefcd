"""Files of ledger and queue that are damaged, or that the system does not let us look at, are reported and end nothing."""

from __future__ import annotations

import errno
import random
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from skyferry.errors import LedgerDamaged, LedgerError, QueueDamaged, QueueError, SkyferryError
from skyferry.ledgers.sqlite.claims import SWEEP
from skyferry.ledgers.sqlite.ledger import SqliteLedger
from skyferry.model import Claim
from skyferry.ports import Outgoing, Settlement, Wait
from skyferry.queues.sqlite.queue import REAP, SqliteQueue
from skyferry.testing.clock import ManualClock
from skyferry.testing.ledger.harness import claim, done, transfer

PAGE = 4096
KEYS = [f"{number:04}" for number in range(600)]


async def written(path: Path) -> None:
    """A ledger with many transfers."""
    ledger = SqliteLedger(path, "writer", ManualClock())
    claims = await claim(ledger, *(transfer(key) for key in KEYS))
    await ledger.settle([Settlement(each, done(each)) for each in claims])
    await ledger.close()


async def sent(path: Path) -> None:
    """A queue with many messages."""
    queue = SqliteQueue(path, "queue", "writer", ManualClock())
    await queue.send([Outgoing(b"x" * 200) for _ in range(600)])
    await queue.close()


def scratch(path: Path, name: str) -> None:
    """Overwrite the first page of a table or an index, and nothing else."""
    with closing(sqlite3.connect(path)) as db:
        (page,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)).fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE)
        file.write(random.Random(3).randbytes(PAGE))


async def test_damaged_pages_are_said_to_be_damage_with_the_way_back(tmp_path: Path) -> None:
    """Heard too, wherever it was seen; every error names the file."""
    await written(path := tmp_path / "ledger.db")
    scratch(path, "places_by_key")
    heard: list[SkyferryError | None] = []
    ledger = SqliteLedger(path, "me", ManualClock(), on_health=heard.append)
    with pytest.raises(LedgerDamaged, match=r"ledger\.db") as caught:
        await ledger.get_placements("to", KEYS[:1])
    assert "skyferry ledger rebuild" in caught.value.hint
    assert heard == [caught.value]
    await ledger.count_transfers()
    assert heard == [caught.value, None]
    await ledger.close()


@pytest.mark.parametrize("share", [2, 40], ids=["half", "little"])
async def test_a_truncated_ledger_names_the_way_back(tmp_path: Path, share: int) -> None:
    """When it is opened."""
    await written(path := tmp_path / "ledger.db")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // share)
    with pytest.raises(LedgerDamaged, match=r"ledger\.db") as caught:
        SqliteLedger(path, "me", ManualClock())
    assert "skyferry ledger rebuild" in caught.value.hint


@pytest.mark.parametrize("damage", ["DELETE FROM schema_version", "UPDATE schema_version SET compatible_from = 'x'"])
async def test_a_damaged_version_of_the_schema_names_the_way_back(tmp_path: Path, damage: str) -> None:
    """Its page can be damaged so that SQLite does not notice."""
    await written(ledger := tmp_path / "ledger.db")
    await sent(queue := tmp_path / "queue.db")
    for path in (ledger, queue):
        with closing(sqlite3.connect(path)) as db, db:
            db.execute(damage)
    with pytest.raises(LedgerDamaged, match="version of the schema is damaged") as caught:
        SqliteLedger(ledger, "me", ManualClock())
    assert "skyferry ledger rebuild" in caught.value.hint
    with pytest.raises(QueueDamaged, match="version of the schema is damaged"):
        SqliteQueue(queue, "queue", "me", ManualClock())


async def test_a_truncated_queue_names_the_way_back(tmp_path: Path) -> None:
    """When it is opened."""
    await sent(path := tmp_path / "queue.db")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(QueueDamaged) as caught:
        SqliteQueue(path, "queue", "me", ManualClock())
    assert "move the file away" in caught.value.hint


async def test_damaged_pages_of_a_queue_are_heard(tmp_path: Path) -> None:
    """Whatever becomes of the messages on them."""
    await sent(path := tmp_path / "queue.db")
    scratch(path, "message_ready")
    heard: list[SkyferryError | None] = []
    queue = SqliteQueue(path, "queue", "me", ManualClock(), on_health=heard.append)
    with pytest.raises(QueueDamaged) as caught:
        await queue.receive(600, 0)
    assert heard == [caught.value]


DECODED: dict[str, Callable[[SqliteLedger], Awaitable[Any]]] = {
    "placements": lambda ledger: ledger.get_placements("to", ["key/0000"]),
    "placed": lambda ledger: anext(ledger.list_placements("to", "source")),
    "claim": lambda ledger: ledger.claim([transfer("other", "key/0000")]),
}


@pytest.mark.parametrize("call", DECODED.values(), ids=DECODED)
async def test_what_cannot_be_decoded_is_an_error_of_the_ledger(
    tmp_path: Path, call: Callable[[SqliteLedger], Awaitable[Any]]
) -> None:
    """Any other exception would end the service."""
    await written(path := tmp_path / "ledger.db")
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE placements SET placement = '[1, 2]'")
    ledger = SqliteLedger(path, "me", ManualClock())
    with pytest.raises(LedgerError, match=r"ledger\.db"):
        await call(ledger)
    await ledger.close()


async def test_it_is_heard_when_a_ledger_works_again(tmp_path: Path) -> None:
    """Once, and only after what failed has succeeded."""
    heard: list[SkyferryError | None] = []
    ledger = SqliteLedger(tmp_path / "ledger.db", "me", ManualClock(), on_health=heard.append)

    def full(db: sqlite3.Connection) -> None:
        raise OSError(errno.ENOSPC, "no room")

    with pytest.raises(LedgerError):
        await ledger._file.write(full)
    await ledger.count_transfers()
    assert [type(each) for each in heard] == [LedgerError]
    await ledger.check_writable()
    await ledger.check_writable()
    assert heard[1:] == [None]
    await ledger.close()


def none_left(*_: object) -> None:
    """As where the process has no file descriptor left."""
    raise OSError(errno.EMFILE, "Too many open files")


async def test_a_busy_ledger_lives_without_file_descriptors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the other owner counts as alive until its lease ends."""
    clock = ManualClock()
    one, two = (SqliteLedger(tmp_path / "ledger.db", name, clock) for name in ("one", "two"))
    await claim(one, transfer("a", "key"))
    for broken in ("iterdir", "open"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, broken, none_left)
            await clock.advance(SWEEP)
            for name in ("b", "c"):
                (answer,) = await two.claim([transfer(name, "key")])
                assert isinstance(answer, Wait)
                assert answer.busy
    await clock.advance(30.0)
    assert isinstance((await two.claim([transfer("b", "key")]))[0], Claim)
    await one.close()
    await two.close()


async def test_a_queue_lives_without_file_descriptors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages are received nevertheless."""
    clock = ManualClock()
    queue = SqliteQueue(tmp_path / "queue.db", "queue", "one", clock)
    await queue.send([Outgoing(b"1")])
    await clock.advance(REAP)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "iterdir", none_left)
        assert len(await queue.receive(1, 0)) == 1
    await queue.close()


async def test_a_folder_of_owners_that_was_removed_ends_nothing(tmp_path: Path) -> None:
    """Somebody tidied up."""
    clock = ManualClock()
    queue = SqliteQueue(tmp_path / "queue.db", "queue", "one", clock)
    (tmp_path / "queue.db.owners" / "one").unlink()
    (tmp_path / "queue.db.owners").rmdir()
    await clock.advance(REAP)
    assert await queue.receive(1, 0) == []
    await queue.close()


def test_the_errors_of_damage_are_those_of_their_ports() -> None:
    """So that whatever copes with a ledger that fails copes with one that is damaged."""
    assert issubclass(LedgerDamaged, LedgerError)
    assert issubclass(QueueDamaged, QueueError)
