"""`skyferry run --processes`: one service, whatever happens to its processes."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tests.processes.running import Command, is_alive, run_command, wait_until, write_objects

OBJECTS = 240


def write_config(folder: Path, **changes: Any) -> Path:
    """Write a configuration in which a copy takes a while, but little CPU time."""
    config = {
        "workspace": str(folder),
        "stores": {
            "source": {"url": "file://in"},
            "destination": {"url": "sim://out", "simulator": {"latency": "40ms"}},
        },
        "routes": [{"name": "all", "from": "source", "to": "destination"}],
        "limits": {"transfers": 8},
        "log": {"format": "json"},
        "server": {"listen": "127.0.0.1:0"},
        **changes,
    }
    (folder / "in").mkdir(exist_ok=True)
    (folder / "skyferry.yaml").write_text(json.dumps(config))
    return folder / "skyferry.yaml"


def ask(command: Command, url: str, path: str) -> str:
    with urllib.request.urlopen(url + path, timeout=30) as answer:
        text: str = answer.read().decode()
        return text


def read_url(command: Command) -> str:
    """Return the URL of the API, which the command prints."""
    assert command.process.stdout is not None
    for line in command.process.stdout:
        if line.startswith("open "):
            return line.split()[1].removesuffix("/docs")
    raise AssertionError("no URL")


def count_settled(command: Command, url: str) -> int:
    """Return the number of transfers that are done, or found done after the process that copied them had died."""
    transfers = json.loads(ask(command, url, "/v1/status"))["transfers"]
    return int(transfers.get("done", 0) + transfers.get("skipped", 0))


def count_done(metrics: str) -> float:
    lines = [line for line in metrics.splitlines() if line.startswith('skyferry_transfers_total{outcome="done"')]
    return sum(float(line.split()[-1]) for line in lines)


def test_a_killed_process_is_replaced_and_nothing_is_lost_or_copied_twice(tmp_path: Path) -> None:
    write_objects(tmp_path / "in", OBJECTS)
    with run_command(tmp_path, "run", "--config", write_config(tmp_path), "--processes", 2, "--no-live") as command:
        url = read_url(command)
        wait_until(lambda: {record.get("worker") for record in command.records("transfer.done")} == {"1", "2"})
        first = command.pids()
        os.kill(first["1"], signal.SIGKILL)
        (ended,) = wait_until(lambda: command.records("process.ended"))
        assert (ended["worker"], ended["message"], ended["delay"]) == ("1", "killed by SIGKILL", 1.0)
        wait_until(lambda: command.pids()["1"] != first["1"])
        wait_until(lambda: count_settled(command, url) == OBJECTS)
        assert ask(command, url, "/ready")
        logged = len(command.records("transfer.done"))  # not what the killed process had not reported yet
        metrics = ask(command, url, "/metrics")
        assert count_done(metrics) == logged > OBJECTS / 2, "the counters of all processes, also of the one that died"
        command.process.send_signal(signal.SIGTERM)
        assert command.end()[0] == 0
        assert not any(is_alive(pid) for pid in (*first.values(), *command.pids().values()))
    assert {record.get("worker", "") for record in command.records("service.stopped")} == {"", "1", "2"}
    for line in command.log.read_text().splitlines():
        json.loads(line)
    for number in range(OBJECTS):
        assert (tmp_path / f"out/{number:04}").read_bytes() == b"%d" % number
    with sqlite3.connect(tmp_path / "ledger.db") as db:
        assert db.execute("SELECT count(*) FROM leases").fetchone() == (0,)


def test_processes_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    write_objects(tmp_path / "in", OBJECTS)
    with run_command(tmp_path, "run", "--config", write_config(tmp_path), "--processes", 2, "--no-live") as command:
        wait_until(lambda: command.records("transfer.done"))
        pids = command.pids().values()
        command.process.kill()
        wait_until(lambda: not any(is_alive(pid) for pid in pids))
    with sqlite3.connect(tmp_path / "ledger.db") as db:
        assert db.execute("SELECT count(*) FROM leases").fetchone() == (0,), "they gave their leases back"


def test_until_idle_ends_when_all_processes_are_idle(tmp_path: Path) -> None:
    write_objects(tmp_path / "in", 30)
    config = write_config(tmp_path)
    with run_command(tmp_path, "run", "--config", config, "--processes", 2, "--until-idle", "--no-live") as command:
        assert command.end()[0] == 0
    assert len(list((tmp_path / "out").glob("0*"))) == 30
    assert len(command.records("transfer.done")) == 30


def test_a_second_signal_ends_all_processes_at_once(tmp_path: Path) -> None:
    write_objects(tmp_path / "in", OBJECTS)
    stalled = {
        "source": {"url": "file://in"},
        "destination": {"url": "sim://out", "simulator": {"latency": "20s"}},
    }
    config = write_config(tmp_path, stores=stalled)
    with run_command(tmp_path, "run", "--config", config, "--processes", 2, "--no-live") as command:
        wait_until(lambda: len(command.records("service.started")) == 3)
        pids = command.pids().values()
        command.process.send_signal(signal.SIGTERM)
        wait_until(lambda: command.records("service.draining"))
        command.process.send_signal(signal.SIGTERM)
        assert command.end()[0] == 130
        wait_until(lambda: not any(is_alive(pid) for pid in pids))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ledger": {"url": "memory://l"}}, "ledger.url: the ledger is in the memory of one process"),
        ({"queues": [{"name": "q", "url": "memory://q"}]}, "queues: the queue q is in the memory of one process"),
        ({"limits": {"memory": "24MiB"}}, "raise limits.memory"),
    ],
)
def test_what_processes_cannot_share_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    config = write_config(tmp_path, **changes)
    with run_command(tmp_path, "run", "--config", config, "--processes", 2) as command:
        assert command.end()[0] == 2
    assert message in command.log.read_text()
    assert "--processes" in command.log.read_text()


def test_a_process_that_cannot_begin_ends_the_command_with_its_error(tmp_path: Path) -> None:
    """As one process would: with the exit code of the error, and no process left."""
    config = write_config(tmp_path)
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "if any('worker_process' in each for each in sys.orig_argv):\n"
        "    import skyferry.processes.worker as worker\n"
        "    from skyferry.errors import LedgerError\n"
        "    def fail(*_, **__): raise LedgerError('no room', hint='make some')\n"
        "    worker.build_service = fail\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        with run_command(tmp_path, "run", "--config", config, "--processes", 2, "--no-live") as command:
            assert command.end()[0] == 4
    assert "error: no room (make some)" in command.log.read_text()
    assert not any(is_alive(pid) for pid in command.pids().values())
