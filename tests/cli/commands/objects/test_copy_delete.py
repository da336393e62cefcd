"""`skyferry copy --delete` and `--dry-run`."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.cli.commands.objects.test_copy_selection import held, write
from tests.cli.conftest import Cli

from skyferry.cli.commands.objects.copying import run as copying
from skyferry.cli.commands.objects.copying.mirror import mirror
from skyferry.cli.exit_codes import ExitCode
from skyferry.discovery.absences import extraneous
from skyferry.discovery.absences.extraneous import delete_extraneous
from skyferry.discovery.listing import ListingSource


@pytest.fixture(autouse=True)
def tree(cli: Cli) -> None:
    write("in", {"a.txt": "a", "b.jpg": "b", "sub/c.jpg": "c"})
    assert cli("copy", "in", "out").code == 0


def test_the_destination_becomes_equal(cli: Cli) -> None:
    write("out", {"extra": "x", "old/y": "y"})
    told = cli("copy", "in", "out", "--delete", "-v")
    assert (told.code, held("out")) == (0, held("in"))
    assert "0 objects copied" in told.out
    assert "2 deleted" in told.out
    assert {line for line in told.err.splitlines() if line.startswith("deleted")} == {
        "deleted extra (1 B)",
        "deleted old/y (1 B)",
    }


def test_what_the_filters_leave_out_is_protected(cli: Cli) -> None:
    write("out", {"extra.log": "x", "extra.txt": "y"})
    assert cli("copy", "in", "out", "--delete", "--exclude", "*.log").code == 0
    assert held("out") == {**held("in"), "extra.log": "x"}
    assert cli("copy", "in/*.txt", "out", "--delete").code == 0
    assert "b.jpg" in held("out"), "the wildcard does not take it"


def test_an_empty_source_deletes_nothing(cli: Cli) -> None:
    Path("empty").mkdir()
    before = held("out")
    told = cli("copy", "empty", "out", "--delete")
    assert (told.code, held("out")) == (ExitCode.DEAD_LETTERS, before)
    assert "3 objects not deleted: the source has no objects" in told.err
    assert cli("copy", "absent/", "out", "--delete").code == ExitCode.FAILED
    assert held("out") == before
    assert cli("copy", "empty", "out", "--delete", "--max-delete", "none").code == 0
    assert held("out") == {}


@pytest.mark.parametrize("lost", ["replaced", "emptied"])
def test_a_source_that_is_lost_after_the_copies_deletes_nothing(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """Such as a disk that is unmounted: its mount point is empty. The limits alone would allow a few deletes."""
    write("in", {f"more-{n}": "x" for n in range(20)})

    async def lose_source(*arguments: Any) -> None:
        os.rename("in", "away")
        if lost == "replaced":
            Path("in").mkdir()
        else:
            os.rename("away", "in")
            shutil.rmtree("in/sub")
            for file in Path("in").iterdir():
                file.unlink()
        await mirror(*arguments)

    monkeypatch.setattr(copying, "mirror", lose_source)
    told = cli("copy", "in", "out", "--delete", "--include", "sub/")
    assert (told.code == 0, len(held("out"))) == (False, 3), told.err
    assert ("another folder is in its place" if lost == "replaced" else "the source has no objects") in told.err


def test_an_interrupt_ends_the_deletes(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those in progress are completed; no other begins."""
    write("out", {f"extra-{n}": "x" for n in range(200)})

    async def delete_interrupted(*arguments: Any) -> None:
        ends, found, deleted, failed, stopped = arguments

        def interrupt(key: str, size: int) -> None:
            deleted(key, size)
            signal.raise_signal(signal.SIGINT)
            monkeypatch.setattr(signal, "raise_signal", lambda number: None)

        await delete_extraneous(ends, found, interrupt, failed, stopped)

    monkeypatch.setattr(extraneous, "delete_extraneous", delete_interrupted)
    told = cli("copy", "in", "out", "--delete", "--max-delete", "none")
    assert told.code == ExitCode.INTERRUPTED
    assert 3 < len(held("out")) < 203
    assert "run the same command again to continue" in told.err
    monkeypatch.undo()


def test_a_source_that_is_replaced_during_the_copies_is_no_delete(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The objects are not reported as deleted at the source."""
    write("in", {"new": "x"})
    choose = ListingSource._choose

    async def replace_source(*arguments: Any) -> Any:
        chosen = await choose(*arguments)
        os.rename("in", "away")
        Path("in").mkdir()
        return chosen

    monkeypatch.setattr(ListingSource, "_choose", replace_source)
    told = cli("copy", "in", "out")
    assert (told.code == 0, "deleted at the source" in told.out) == (False, False)
    assert "another folder is in its place now" in told.err or "was replaced while it was listed" in told.err


def test_more_than_the_limit_is_not_deleted(cli: Cli) -> None:
    write("out", {f"extra-{n}": "x" for n in range(12)})
    before = held("out")
    for limit in (["--max-delete", "11"], []):
        told = cli("copy", "in", "out", "--delete", "--json", *limit)
        assert (told.code, held("out")) == (ExitCode.DEAD_LETTERS, before)
        assert (told.json()["objects"]["withheld"], told.json()["complete"]) == (12, False)
    assert cli("copy", "in", "out", "--delete", "--max-delete", "12").code == 0
    assert held("out") == held("in")


def test_nothing_is_deleted_unless_everything_has_arrived(cli: Cli) -> None:
    write("out", {"extra": "x"})
    Path(os.fsdecode(b"in/\xff")).write_bytes(b"no key can be so named")
    told = cli("copy", "in", "out", "--delete")
    assert (told.code, "extra" in held("out")) == (ExitCode.DEAD_LETTERS, True)
    assert "nothing is deleted, because not everything has arrived" in told.err


def test_what_a_link_hides_is_not_deleted(cli: Cli) -> None:
    Path("in/a.txt").unlink()
    Path("in/a.txt").symlink_to("b.jpg")
    assert cli("copy", "in", "out", "--delete").code == 0
    assert held("out")["a.txt"] == "a"


@pytest.mark.parametrize(
    ("source", "destination", "message"),
    [
        ("in/a.txt", "file", "single file"),
        ("in/sub", "in", "the source is inside the destination"),
        ("in", ".", "the source is inside the destination"),
    ],
)
def test_a_delete_that_cannot_work_is_refused(cli: Cli, source: str, destination: str, message: str) -> None:
    before = held(".")
    told = cli("copy", source, destination, "--delete")
    assert (told.code, message in told.err, held(".")) == (ExitCode.USAGE, True, before), told.err


def test_a_dry_run_prints_what_would_be_done_and_changes_nothing(cli: Cli, tmp_path: Path) -> None:
    write("in", {"a.txt": "changed", "new": "n"})
    write("out", {"extra": "x"})
    before = held(str(tmp_path))
    told = cli("copy", "in", "out", "--delete", "--dry-run")
    assert [line.split() for line in told.out.splitlines()[:3]] == [
        ["update", "7", "B", "a.txt"],
        ["copy", "1", "B", "new"],
        ["delete", "1", "B", "extra"],
    ]
    assert told.out.splitlines()[3] == "2 objects would be copied, 8 B, 2 already present, 1 would be deleted"
    document = cli("copy", "in", "out", "--delete", "--dry-run", "--json").json()
    assert (document["dry_run"], document["objects"]["copied"], document["objects"]["deleted"]) == (True, 2, 1)
    assert held(str(tmp_path)) == before


def test_a_dry_run_needs_neither_a_destination_nor_a_ledger(cli: Cli, tmp_path: Path) -> None:
    before = held(str(tmp_path))
    told = cli("copy", "in", "nowhere/yet", "-n")
    assert (told.code, told.out.splitlines()[-1]) == (0, "3 objects would be copied, 3 B")
    assert told.err == ""
    told = cli("copy", "in", "out", "-n", "--ignore-ledger")
    assert told.out.splitlines() == ["0 objects would be copied, 0 B, 3 already present"], "their stamps say so"
    assert (held(str(tmp_path)), Path("nowhere").exists()) == (before, False)
