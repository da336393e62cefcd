"""`skyferry copy --processes`: one copy, one ledger, one summary."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.processes.running import Command, is_alive, run_command, wait_until, write_objects

from skyferry.cli.commands.objects.copying.processes import UnreportedCopies
from skyferry.cli.render.copy_progress import CopyProgress
from skyferry.records import Record

OBJECTS = 240


def find_children(command: Command) -> list[int]:
    """Return the processes that the command has started."""
    return [
        int(pid) for pid in Path(f"/proc/{command.process.pid}/task/{command.process.pid}/children").read_text().split()
    ]


def copy(folder: Path, *more: object) -> list[object]:
    """Return arguments for a copy that takes a while, but little CPU time."""
    (folder / "out").mkdir(exist_ok=True)
    stores = {"slow": {"url": "sim://out", "simulator": {"latency": "40ms"}}}
    (folder / "skyferry.yaml").write_text(json.dumps({"workspace": str(folder), "stores": stores}))
    return ["copy", "in/", "sim://out", "--workspace", folder, "--json", *more]


def read_counts(output: str) -> dict[str, Any]:
    assert output, "see the log"
    document = json.loads(output)
    assert document["complete"]
    counts: dict[str, Any] = document["objects"]
    return counts


def test_a_killed_process_is_replaced_and_the_summary_is_that_of_all(tmp_path: Path) -> None:
    write_objects(tmp_path / "in", OBJECTS)
    out = tmp_path / "out"
    with run_command(tmp_path, *copy(tmp_path, "--processes", 2, "--transfers", 8)) as command:
        wait_until(lambda: out.is_dir() and any(out.glob("0*")))
        first = find_children(command)
        assert len(first) == 2
        os.kill(first[0], signal.SIGKILL)
        code, output = command.end()
    log = command.log.read_text()
    assert (code, read_counts(output)["listed"]) == (0, OBJECTS), log
    assert read_counts(output)["copied"] + read_counts(output)["present"] == OBJECTS
    assert "ended (killed by SIGKILL); another one takes its work over" in log
    assert {path.name: path.read_bytes() for path in out.glob("0*")} == {
        f"{number:04}": b"%d" % number for number in range(OBJECTS)
    }
    assert not any(is_alive(pid) for pid in first)


def test_what_a_killed_process_had_not_reported_is_counted_once() -> None:
    """Another process finds it settled, also if it was reported, but not yet acknowledged."""
    progress = CopyProgress()
    observer = UnreportedCopies(progress, most=2)
    for key in ("a", "b", "c"):
        observer.on(Record("transfer.done", key=key, bytes=1))
    for key, state in (("b", "done"), ("c", "done"), ("d", "done"), ("d", "done"), ("e", "dead")):
        observer.on(Record("transfer.duplicate", key=key, reason=state))
    assert (progress.copied, progress.present, progress.failed) == (3, 1, 1)


def test_the_ledger_remembers_and_what_a_listing_contradicts_is_copied_again(tmp_path: Path) -> None:
    """The process that lists finds the contradiction, another one copies."""
    write_objects(tmp_path / "in", 20)
    arguments = copy(tmp_path, "--processes", 2)
    with run_command(tmp_path, *arguments) as command:
        assert read_counts(command.end()[1])["copied"] == 20
    (tmp_path / "out/0003").write_bytes(b"another size")
    (tmp_path / "out/0005").unlink()
    with run_command(tmp_path, *arguments) as command:
        counts = read_counts(command.end()[1])
    assert (counts["copied"], counts["present"]) == (2, 18)
    assert (tmp_path / "out/0003").read_bytes() == b"3"
    with run_command(tmp_path, *arguments, "--ignore-ledger") as command:
        assert read_counts(command.end()[1])["listed"] == 20


def test_an_interrupted_copy_leaves_no_process_and_can_be_continued(tmp_path: Path) -> None:
    write_objects(tmp_path / "in", OBJECTS)
    with run_command(tmp_path, *copy(tmp_path, "--processes", 2, "--transfers", 4)) as command:
        wait_until(lambda: (tmp_path / "out").is_dir() and any((tmp_path / "out").glob("0*")))
        children = find_children(command)
        command.process.send_signal(signal.SIGINT)
        assert command.end()[0] == 130
        assert not any(is_alive(pid) for pid in children)
    assert len(list((tmp_path / "out").glob("0*"))) < OBJECTS
    with run_command(tmp_path, *copy(tmp_path, "--transfers", 64)) as command:
        code, output = command.end()
    assert code == 0
    assert read_counts(output)["listed"] == OBJECTS


def test_a_process_count_without_a_meaning_is_refused(tmp_path: Path) -> None:
    write_objects(tmp_path / "in", 1)
    for given in ("0", "-1", "two", "65", ""):
        with run_command(tmp_path, *copy(tmp_path, f"--processes={given}")) as command:
            assert command.end()[0] == 2
        assert "give a number from 1 to 64, or auto" in command.log.read_text()
        assert not list((tmp_path / "out").iterdir())


def test_a_process_that_never_begins_ends_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that ends before it can report an error, such as at an import; it is not started again for ever."""
    write_objects(tmp_path / "in", 3)
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if any('worker_process' in each for each in sys.orig_argv):\n"
        "    os._exit(7)\n"
        "def fork(): raise OSError('no process is left')\n"
        "os.fork = fork\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with run_command(tmp_path, *copy(tmp_path, "--processes", 2)) as command:
        assert command.end()[0] == 1
    assert "ended 3 times before it could begin: exit code 7" in command.log.read_text()
    assert not list((tmp_path / "out").glob("0*"))
