"""`skyferry copy` that grows from one process into two: one ledger, one summary, and nothing twice."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.processes.growing_command import AT_FULL_SPEED, BEGUN, FORKED, SLOWLY, STARTED, WITHOUT_FORKS
from tests.processes.running import Command, is_alive, run_command, wait_until, write_objects
from tests.processes.test_copy import copy, find_children, read_counts

from skyferry.cli.arguments.object_urls import locate_object
from skyferry.cli.commands.objects.copying import prepare
from skyferry.config.load import load

PROGRAM = str(Path(__file__).with_name("growing_command.py"))
MANY, FEW = 800, 60  # objects: half a minute, and some seconds, in one slow process


@contextmanager
def run_growing(folder: Path, *more: object, speed: str = SLOWLY, children: str = FORKED) -> Iterator[Command]:
    with run_command(folder, *copy(folder, *more), program=(PROGRAM, speed, children)) as command:
        yield command


def wait_for_start(command: Command) -> list[int]:
    """Return the children, which start now."""
    wait_until(lambda: STARTED in command.log.read_text() and find_children(command))
    return find_children(command)


def wait_for_handover(command: Command) -> list[int]:
    """Return the children, which copy now."""
    wait_until(lambda: BEGUN in command.log.read_text())
    return find_children(command)


def check_copies(folder: Path, count: int) -> None:
    assert {path.name: path.read_bytes() for path in (folder / "out").glob("0*")} == {
        f"{number:04}": b"%d" % number for number in range(count)
    }


def continue_copy(folder: Path, count: int) -> None:
    """Run the same copy again, which has to complete it."""
    with run_command(folder, *copy(folder, "--processes", 1)) as command:
        code, output = command.end()
    assert (code, read_counts(output)["listed"]) == (0, count), command.log.read_text()
    check_copies(folder, count)


@pytest.mark.parametrize("started", [FORKED, WITHOUT_FORKS])
def test_each_object_is_copied_and_counted_once(tmp_path: Path, started: str) -> None:
    """Also with deletes, and with an object that cannot be copied."""
    write_objects(tmp_path / "in", MANY)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/extraneous").touch()
    with run_growing(tmp_path, "--delete", "-v", children=started) as command:
        children = wait_for_handover(command)
        assert len(children) == 2
        code, output = command.end()
    log = command.log.read_text()
    counts = read_counts(output)
    assert (code, counts["copied"], counts["present"], counts["deleted"]) == (0, MANY, 0, 1), log
    assert sorted(line.split()[1] for line in log.splitlines() if line.startswith("copied")) == [
        f"{number:04}" for number in range(MANY)
    ]
    check_copies(tmp_path, MANY)
    assert not any(is_alive(pid) for pid in children)
    with run_growing(tmp_path, speed=AT_FULL_SPEED) as command:
        code, output = command.end()
    assert (code, read_counts(output)["present"]) == (0, MANY)


def test_what_a_listing_contradicts_is_copied_again_by_another_process(tmp_path: Path) -> None:
    write_objects(tmp_path / "in", MANY)
    with run_command(tmp_path, *copy(tmp_path, "--processes", 1)) as command:
        assert command.end()[0] == 0
    for path in (tmp_path / "out").glob("0*"):
        path.write_bytes(b"another size")
    with run_growing(tmp_path) as command:
        wait_for_handover(command)
        code, output = command.end()
    assert (code, read_counts(output)["copied"]) == (0, MANY)
    check_copies(tmp_path, MANY)


@pytest.mark.parametrize("name", ["in", "out"])
def test_no_process_takes_a_folder_that_replaces_an_end(tmp_path: Path, name: str) -> None:
    """Such as the mount point of a disk that is unmounted while they start."""
    write_objects(tmp_path / "in", MANY)
    with run_growing(tmp_path, "--retry-for", "5s") as command:
        wait_for_start(command)
        (tmp_path / name).rename(tmp_path / "away")
        (tmp_path / name).mkdir()
        code, output = command.end()
    log = command.log.read_text()
    assert code not in (0, None), log
    assert "another folder is in its place now" in f"{log}{output}"
    assert not list((tmp_path / name).iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_processes_start_ends_them(tmp_path: Path, number: int) -> None:
    write_objects(tmp_path / "in", MANY)
    with run_growing(tmp_path) as command:
        children = wait_for_start(command)
        command.process.send_signal(number)
        assert command.end()[0] == 130
        assert not any(is_alive(pid) for pid in children)
    log = command.log.read_text()
    assert BEGUN not in log
    assert "warning" not in log
    continue_copy(tmp_path, MANY)


def test_a_signal_after_the_growth_drains_all(tmp_path: Path) -> None:
    write_objects(tmp_path / "in", MANY)
    with run_growing(tmp_path, "--transfers", 4) as command:
        children = wait_for_handover(command)
        command.process.send_signal(signal.SIGINT)
        assert command.end()[0] == 130
        assert not any(is_alive(pid) for pid in children)
    assert len(list((tmp_path / "out").glob("0*"))) < MANY
    continue_copy(tmp_path, MANY)


@pytest.mark.parametrize(("begun", "started"), [(False, FORKED), (True, FORKED), (True, WITHOUT_FORKS)])
def test_a_command_that_is_killed_in_the_growth_can_be_continued(tmp_path: Path, begun: bool, started: str) -> None:
    write_objects(tmp_path / "in", MANY)
    with run_growing(tmp_path, "--transfers", 4, children=started) as command:
        children = wait_for_handover(command) if begun else wait_for_start(command)
        command.process.kill()
        command.end()
    wait_until(lambda: not any(is_alive(pid) for pid in children))
    continue_copy(tmp_path, MANY)


def test_a_child_that_is_killed_after_the_growth_is_replaced(tmp_path: Path) -> None:
    write_objects(tmp_path / "in", MANY)
    with run_growing(tmp_path, "--transfers", 16) as command:
        os.kill(wait_for_handover(command)[0], signal.SIGKILL)
        code, output = command.end()
    counts = read_counts(output)
    assert (code, counts["copied"] + counts["present"]) == (0, MANY), command.log.read_text()
    assert "another one takes its work over" in command.log.read_text()
    check_copies(tmp_path, MANY)


def test_a_child_that_is_killed_before_it_is_ready_leaves_the_work_in_one_process(tmp_path: Path) -> None:
    write_objects(tmp_path / "in", FEW)
    with run_growing(tmp_path) as command:
        children = wait_for_start(command)
        os.kill(children[0], signal.SIGKILL)  # it takes two seconds to start
        code, output = command.end()
    log = command.log.read_text()
    assert (code, read_counts(output)["copied"]) == (0, FEW), log
    assert "this copy goes on in one process: process 1 ended before it could begin: killed by SIGKILL" in log
    assert BEGUN not in log
    assert not any(is_alive(pid) for pid in children)
    check_copies(tmp_path, FEW)


def test_a_child_that_cannot_begin_leaves_the_work_in_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_objects(tmp_path / "in", FEW)
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif any('worker_process' in each for each in sys.orig_argv):\n    os._exit(7)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with run_growing(tmp_path, children=WITHOUT_FORKS) as command:
        code, output = command.end()
    assert (code, read_counts(output)["copied"]) == (0, FEW), command.log.read_text()
    assert "warning: this copy goes on in one process" in command.log.read_text()


@pytest.mark.parametrize(
    "more",
    [
        ["--processes", "1"],
        ["--dry-run"],
        ["--ignore-ledger"],
        ["--transfers", "1"],  # one process cannot have less
    ],
)
def test_some_copies_never_grow(tmp_path: Path, more: list[str]) -> None:
    write_objects(tmp_path / "in", FEW)
    with run_growing(tmp_path, *more) as command:
        code, output = command.end()
    assert (code, read_counts(output)["listed"]) == (0, FEW)
    assert STARTED not in command.log.read_text()
    assert "warning" not in command.log.read_text()


def test_processes_that_were_forked_and_not_used_end_with_the_copy(tmp_path: Path) -> None:
    """Also if it is killed."""
    write_objects(tmp_path / "in", FEW)
    with run_growing(tmp_path, "--transfers", "2") as command:
        children = wait_for_start(command)
        command.process.kill()
        command.end()
    wait_until(lambda: not any(is_alive(pid) for pid in children))


def test_a_small_folder_has_few_files_and_folders_at_any_depth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is forked for it. How many objects another store has is not known."""
    write_objects(tmp_path / "in/a/b", 3)
    (tmp_path / "in/a/loop").symlink_to(tmp_path / "in")
    here, there = (locate_object(text, load(None, {})) for text in (f"{tmp_path}/in/", "s3://bucket/"))
    for few, small in ((7, True), (6, False)):
        monkeypatch.setattr(prepare, "FEW", few)
        assert (prepare.is_small(here), prepare.is_small(there)) == (small, False)


def test_a_copy_to_a_store_in_memory_never_grows(tmp_path: Path) -> None:
    write_objects(tmp_path / "in", FEW)
    settings = {"workspace": str(tmp_path), "stores": {"memory": {"url": "memory://out"}}}
    (tmp_path / "skyferry.yaml").write_text(json.dumps(settings))
    with run_command(tmp_path, "copy", "in/", "memory://out", "--json", program=(PROGRAM, SLOWLY, FORKED)) as command:
        code, output = command.end()
    assert (code, read_counts(output)["copied"]) == (0, FEW), command.log.read_text()
    assert "warning" not in command.log.read_text()
