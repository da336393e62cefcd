"""`ledger`: a file that is damaged is found, a copy is whole, and a lost one is made again so that nothing is forgotten."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.ledgers.sqlite.test_damage import scratch, written

from skyferry.clock import SystemClock
from skyferry.config.load import load
from skyferry.ledgers.sqlite.ledger import SqliteLedger
from skyferry.observe import Fanout
from skyferry.wiring import build_service, identities

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

DATA = Path("skyferry-data")
LEDGER = DATA / "ledger.db"


def run_until_idle() -> None:
    """The service on the embedded default, until there is nothing left to do."""

    async def run() -> None:
        for name in ("source", "destination"):
            (DATA / name).mkdir(parents=True, exist_ok=True)
        async with asyncio.timeout(60), build_service(load(None, {}, DATA), Fanout(())) as service:
            await service.run(until_idle=True)

    asyncio.run(run())


def lose_ledger() -> None:
    """As a disk would."""
    for file in DATA.glob("ledger.db*"):
        if file.is_file():
            file.unlink()


def test_a_whole_ledger_is_whole_while_it_is_open(filled: Cli) -> None:
    """The counters agree with the transfers, and every row has its others."""
    ledger = SqliteLedger(LEDGER, "other", SystemClock())
    try:
        result = filled("ledger", "check", "--json")
    finally:
        asyncio.run(ledger.close())
    assert (result.code, result.json()) == (0, {"file": str(LEDGER), "ok": True, "problems": []})


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("DELETE FROM details WHERE serial = 1", "1 transfers have no details"),
        ("DELETE FROM places", "transfers have no destination key"),
        ("UPDATE counters SET value = 7 WHERE name = 'state 2'", "1 transfers are done, but 7 were counted"),
        ("DROP TABLE letters; DROP TABLE transfers", "it is not a ledger"),
    ],
)
def test_tables_that_disagree_are_found(filled: Cli, damage: str, said: str) -> None:
    """Where SQLite itself finds nothing wrong."""
    with closing(sqlite3.connect(LEDGER)) as db:
        db.executescript(damage)
    result = filled("ledger", "check")
    assert result.code == 1
    assert said in result.out


def test_damaged_pages_are_found_and_the_way_back_is_named(cli: Cli) -> None:
    """Exit code 1."""
    asyncio.run(written(LEDGER))
    scratch(LEDGER, "places_by_key")
    result = cli("ledger", "check")
    assert result.code == 1
    assert "problem" in result.out
    assert "skyferry ledger rebuild" in result.err
    assert cli("ledger", "backup", "copy.db").code == 4
    assert not list(Path().glob("copy.db*"))


def test_doctor_marks_damage_with_a_cross(filled: Cli) -> None:
    """Of the ledger, and of a queue's file."""
    run_until_idle()
    assert "✗ its file" not in filled("doctor").out
    scratch(LEDGER, "places_by_key")
    scratch(DATA / "queue.db", "message_ready")
    result = filled("doctor")
    assert result.code == 1
    assert result.out.count("✗ the records are intact:") == 2


def test_no_ledger_is_no_whole_one(cli: Cli) -> None:
    """It says what makes it again."""
    result = cli("ledger", "check")
    assert result.code == 1
    assert "the ledger does not exist" in result.err


def test_a_backup_is_whole_and_private_and_replaces_nothing(filled: Cli) -> None:
    """It is taken while the ledger is open, and works in the ledger's place, where its keys are free at once."""
    ledger = SqliteLedger(LEDGER, "other", SystemClock())
    try:
        size = filled("ledger", "backup", "copy.db", "--json").json()["size"]
    finally:
        asyncio.run(ledger.close())
    copy = Path("copy.db")
    assert (copy.stat().st_size, copy.stat().st_mode & 0o777) == (size, 0o600)
    again = filled("ledger", "backup", "copy.db")
    assert again.code == 1
    assert "the file exists" in again.err
    before = filled("transfers", "--json").json()
    os.replace(copy, LEDGER)
    assert filled("transfers", "--json").json() == before
    assert filled("ledger", "check").code == 0
    assert filled("ledger", "backup", ".").code == 0
    assert len(list(Path().glob("ledger-*.db"))) == 1


def test_a_backup_that_has_no_place_blames_the_place(filled: Cli) -> None:
    Path("file").touch()
    places = {"missing/": "missing/: the folder does not exist", "missing/a.db": "missing: the folder does not exist"}
    for target, said in (places | {"file/a.db": "file: ", "/proc/a.db": "/proc: "}).items():
        result = filled("ledger", "backup", target)
        assert (result.code, result.err.startswith(f"error: {said}")) == (1, True), result.err
        assert not Path("missing").exists()


def test_a_backup_to_a_full_disk_leaves_nothing(filled: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect

    def connect_small(file: str | Path, **options: Any) -> sqlite3.Connection:
        db: sqlite3.Connection = connect(file, **options)
        if str(file).endswith(".part"):
            db.execute("PRAGMA max_page_count = 2")
        return db

    monkeypatch.setattr("skyferry.ledgers.sqlite.maintenance.sqlite3.connect", connect_small)
    result = filled("ledger", "backup", "copy.db")
    assert result.code == 1
    assert result.err.startswith("error: copy.db: No space left on device (free some disk space")
    assert not list(Path().glob("copy.db*"))


def test_a_lost_ledger_is_made_again_and_forgets_no_delete(cli: Cli) -> None:
    """What was deleted while nobody watched goes; what is there stays as it is, and nothing is copied twice."""
    (DATA / "source" / "d").mkdir(parents=True)
    for name in ("a", "b", "d/c", "d/e f"):
        (DATA / "source" / name).write_text(name)
    run_until_idle()
    (DATA / "destination" / "stranger").write_text("not ours")
    lose_ledger()
    (DATA / "source" / "b").unlink()
    before = (DATA / "destination" / "a").stat()

    [store] = cli("ledger", "rebuild", "--json").json()["stores"]
    assert store == {
        "store": "destination",
        "objects": 5,
        "remembered": 4,
        "known": 0,
        "strangers": 1,
        "elsewhere": 0,
        "untold": 0,
    }
    run_until_idle()
    left = sorted(str(p.relative_to(DATA / "destination")) for p in (DATA / "destination").rglob("*") if p.is_file())
    assert [name for name in left if not name.startswith(".skyferry")] == ["a", "d/c", "d/e f", "stranger"]
    assert (DATA / "destination" / "a").stat() == before
    counts = cli("status", "--json").json()["transfers"]
    assert counts["done"] == 5  # the four, and the delete
    assert cli("ledger", "check").code == 0


def list_copies() -> list[str]:
    """The copies at the destination."""
    return sorted(p.name for p in (DATA / "destination").iterdir() if p.is_file())


def copy_from_two_machines(monkeypatch: pytest.MonkeyPatch, theirs: str = "theirs") -> None:
    """The folder `source` of machine two, then that of machine one, to one destination. Then the ledger is lost."""
    for machine, names in (("two", [theirs]), ("one", ["mine", "deleted"])):
        monkeypatch.setattr(identities, "identify_machine", lambda machine=machine: machine)
        (DATA / "source").mkdir(parents=True)
        for name in names:
            (DATA / "source" / name).write_text(name)
        run_until_idle()
        lose_ledger()
        (DATA / "source").rename(DATA / f"source-{machine}")
    (DATA / "source-one").rename(DATA / "source")
    (DATA / "source" / "deleted").unlink()


def test_a_rebuild_leaves_the_copies_of_another_machine_alone(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder has the same name. What is deleted here, or never was here, does not go there."""
    copy_from_two_machines(monkeypatch)
    result = cli("ledger", "rebuild", "--json")
    [store] = result.json()["stores"]
    assert (store["remembered"], store["elsewhere"], store["strangers"]) == (2, 1, 0)
    assert "1 object came from a source of the same name" in result.err
    assert "--moved" in result.err
    run_until_idle()
    assert list_copies() == ["mine", "theirs"]


def test_a_rebuild_finds_the_copies_of_a_machine_with_a_new_name(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a person says that it is the same source; until then, nothing is deleted."""
    copy_from_two_machines(monkeypatch)
    monkeypatch.setattr(identities, "identify_machine", lambda: "one, renamed")
    assert cli("ledger", "rebuild", "--json").json()["stores"][0]["elsewhere"] == 3
    run_until_idle()
    assert list_copies() == ["deleted", "mine", "theirs"]
    (DATA / "source" / "theirs").write_text("theirs")  # all copies are from here
    [store] = cli("ledger", "rebuild", "--add", "--moved", "--json").json()["stores"]
    assert (store["remembered"], store["known"], store["elsewhere"]) == (2, 1, 0)
    run_until_idle()
    assert list_copies() == ["mine", "theirs"]


def test_a_rebuild_finds_copies_of_releases_without_marks(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their provenance has no `skyferry-via`."""
    with monkeypatch.context() as older:
        older.setattr("skyferry.wiring.service.mark_stores", lambda settings: {})
        copy_from_two_machines(older)
    assert cli("ledger", "rebuild", "--json").json()["stores"][0]["remembered"] == 3


def test_a_whole_ledger_is_only_added_to(filled: Cli) -> None:
    """By name, since nothing is lost."""
    (DATA / "destination").mkdir()
    refused = filled("ledger", "rebuild")
    assert refused.code == 1
    assert "--add" in refused.err
    assert filled("ledger", "rebuild", "--add").code == 0
    assert filled("status", "--json").json()["transfers"]["done"] == 1


def test_a_ledger_that_is_open_is_not_rebuilt(filled: Cli) -> None:
    """A service that runs would go on with the old one."""
    ledger = SqliteLedger(LEDGER, "service", SystemClock())
    try:
        refused = filled("ledger", "rebuild", "--add")
    finally:
        asyncio.run(ledger.close())
    assert refused.code == 4
    assert "service has it open" in refused.err


def test_dead_letters_of_a_damaged_ledger_are_taken_over(filled: Cli) -> None:
    """And the damaged file is kept."""
    (DATA / "destination").mkdir()
    letters = filled("dead-letters", "list", "--json").json()["items"]
    scratch(LEDGER, "places_by_key")
    assert filled("ledger", "rebuild").code == 0
    assert [letter["id"] for letter in filled("dead-letters", "list", "--json").json()["items"]] == [
        letter["id"] for letter in letters
    ]
    assert len(list(DATA.glob("ledger.db.damaged-*Z"))) == 1
    assert not list(DATA.glob("*.rebuilt*"))


def test_a_rebuild_that_finds_no_store_leaves_no_file(filled: Cli) -> None:
    """The folder of the destination is missing."""
    LEDGER.unlink()
    before = sorted(path.name for path in DATA.iterdir())
    assert filled("ledger", "rebuild").code != 0
    assert sorted(path.name for path in DATA.iterdir()) == before
