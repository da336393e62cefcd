"""The ledger of `skyferry copy`, and the folders that it leaves behind."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path
from shutil import rmtree

import orjson
import pytest
from tests.cli.commands.objects.test_copy_selection import held, write
from tests.cli.conftest import Cli

from skyferry.cli.exit_codes import ExitCode
from skyferry.stores.local.blocking.removal import remove_private_folder
from skyferry.wiring import copy_ledgers
from skyferry.wiring.copy_ledgers import CopyLedger


@pytest.fixture(autouse=True)
def state(cli: Cli, tmp_path: Path) -> Path:
    write("in", {"a.txt": "a", "b/c": "c"})
    return tmp_path / "state" / "skyferry" / "copies"


def test_it_remembers_in_the_state_folder_and_leaves_nothing_else(cli: Cli, state: Path, tmp_path: Path) -> None:
    assert cli("copy", "in", "out").code == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out", "state"]
    assert held("out") == held("in"), "with private files"
    assert sorted(p.name for p in Path("out").iterdir()) == ["a.txt", "b"]
    assert [p.suffix for p in sorted(state.iterdir())] == [".db", ".owners"]
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


def test_a_workspace_that_is_named_has_the_ledger(cli: Cli, state: Path) -> None:
    assert cli("copy", "in", "out", "--workspace", "mine").code == 0
    assert ([p.suffix for p in Path("mine/copies").glob("*.db")], state.exists()) == ([".db"], False)


def test_without_a_writable_state_folder_it_copies_all_the_same(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Path("file").write_text("not a folder")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    result = cli("copy", "in", "out")
    assert (result.code, held("out")) == (0, held("in"))
    assert "warning: this copy is not remembered: " in result.err


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_with_a_state_folder_that_cannot_be_looked_at_it_copies_all_the_same(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, more: list[str]
) -> None:
    """As with the home folder of another user after `sudo -u`. A name that is too long fails in the same way for all users."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / ("x" * 300)))
    result = cli("copy", "in", "out", *more)
    assert result.code == 0, result.err
    assert Path("out").exists() is not bool(more)


def test_a_relative_state_folder_is_ignored(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cli("copy", "in", "out").code == 0
    assert (Path("here").exists(), len(list(Path("home/.local/state/skyferry/copies").glob("*.db")))) == (False, 1)


def test_two_copies_at_once_share_the_ledger_and_the_destination(cli: Cli) -> None:
    write("in", {f"{n}": str(n) for n in range(60)})
    command = [sys.executable, "-m", "skyferry", "copy", "in", "out", "--json"]
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [each.wait() for each in running] == [0, 0]
    assert held("out") == held("in"), "and no private files"


@pytest.mark.parametrize("options", [[], ["--processes", "2"], ["--ignore-ledger"]], ids=" ".join)
def test_without_its_ledger_it_counts_what_is_there_as_present(cli: Cli, state: Path, options: list[str]) -> None:
    """Nothing is written again, so nothing is said to be copied."""
    assert cli("copy", "in", "out").code == 0
    before = Path("out/a.txt").stat()
    rmtree(state)
    Path("in/d").write_text("new")
    result = cli("copy", "in", "out", "--json", *options)
    found = orjson.loads(result.out)
    assert (result.code, found["complete"]) == (0, True)
    assert [found["objects"][name] for name in ("listed", "copied", "present")] == [3, 1, 2]
    assert (found["bytes"]["copied"], Path("out/a.txt").stat()) == (3, before)


def test_a_private_folder_with_content_or_in_use_stays(cli: Cli, tmp_path: Path) -> None:
    Path("out/.skyferry/uploads").mkdir(parents=True)
    Path("out/.skyferry/uploads/1").write_text("{}")
    assert cli("copy", "in", "out").code == 0
    assert Path("out/.skyferry/uploads/1").exists()
    Path("out/.skyferry/uploads/1").unlink()
    Path("out/.skyferry/identity").write_text("a marker")
    assert not remove_private_folder(tmp_path / "out")
    Path("out/.skyferry/identity").unlink()
    take = "fcntl.flock(os.open('out/.skyferry', os.O_RDONLY), fcntl.LOCK_SH)"
    holder = f"import fcntl, os, sys; {take}; print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as user:
        assert user.stdout is not None
        user.stdout.readline()
        assert not remove_private_folder(tmp_path / "out")
        user.communicate()
    assert remove_private_folder(tmp_path / "out")
    assert not Path("out/.skyferry").exists()


def test_a_folder_that_cannot_be_made_is_one_line(cli: Cli) -> None:
    Path("file").write_text("x")
    result = cli("copy", "in", "file/below/")
    assert (result.code, result.err.count("\n"), "a file is where a folder is needed" in result.err) == (2, 1, True)


def test_a_ledger_on_a_full_disk_is_reported_and_ends_the_copy(
    cli: Cli, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_ledger = copy_ledgers.open_ledger

    def open_full(file: Path) -> CopyLedger:
        ledger = open_ledger(file)
        ledger._file._writer.execute("PRAGMA max_page_count=1")  # SQLite keeps the pages that there are
        return ledger

    monkeypatch.setattr(copy_ledgers, "open_ledger", open_full)
    write("in", {f"{number}".zfill(200): "x" for number in range(200)})
    result = cli("copy", "in", "out", "--retry-for", "300ms")
    first, *rest = result.err.splitlines()
    assert result.code == ExitCode.UNREACHABLE
    assert first.startswith("waiting for the ledger: ")
    assert first.endswith(".db: database or disk is full (free some disk space)")
    assert any(line.startswith("nothing has arrived for 300 ms, so the copy ends: ") for line in rest)
