"""Two real workers on one ledger: each role belongs to one of them, and is taken over when that one dies, stops or drains."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.processes.running import Command, run_command, wait_until

from skyferry.testing.servers import PostgresServer

SHORT, LONG = "5s", "10m"  # leases: one to wait for, and one that ends after the test
SHARED = {"housekeeping", "gauges", "queues", "deletes", "dead-letters"}
FLEET = "skyferry_dead_letters_waiting"  # a gauge of the whole fleet


@dataclass
class Worker:
    """One `skyferry run`, and its API."""

    command: Command
    url: str

    def ask(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            text: str = answer.read().decode()
            return text

    def list_roles(self) -> list[set[str]]:
        """Return the roles of each worker that it knows of, with the names of scans shortened."""
        items = json.loads(self.ask("/v1/workers"))["items"]
        return sorted(({role.partition("@")[0] for role in item["roles"]} for item in items), key=len)

    def exports_fleet(self) -> bool:
        return any(line.startswith(FLEET) for line in self.ask("/metrics").splitlines())

    def count_held(self) -> float:
        lines = [line for line in self.ask("/metrics").splitlines() if line.startswith("skyferry_role_held{")]
        return sum(float(line.split()[-1]) for line in lines)

    def noticed(self) -> set[str]:
        """Return the keys that its scan has found."""
        return {record["key"] for record in self.command.records("watch.noticed")}

    def lost(self) -> set[str]:
        """Return the roles that it has reported as lost."""
        return {record["operation"].partition("@")[0] for record in self.command.records("role.lost")}


Start = Callable[[str], AbstractContextManager[Worker]]
Fleet = Callable[[str], Start]
ALL = SHARED | {"scan:source"}


@pytest.fixture(params=["sqlite", "postgresql"])
def fleet(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """Return what starts a worker of a fleet with this lease."""
    ledger, queue = "sqlite://ledger.db", "sqlite://queue.db"
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        monkeypatch.setenv("PGPASSWORD", server.password)
        ledger = f"postgresql://{server.user}@{server.address}/{server.create_database()}"
        queue = f"{ledger}/events"
    (tmp_path / "in").mkdir()

    def choose(lease: str) -> Start:
        config: dict[str, Any] = {
            "workspace": str(tmp_path),
            "stores": {"source": {"url": "file://in"}, "destination": {"url": "file://out"}},
            "routes": [{"name": "all", "from": "source", "to": "destination"}],
            "queues": [{"name": "events", "url": queue}],
            "ledger": {"url": ledger, "lease": lease},
            "dead_letters": {"name": "dead", "url": "sqlite://dead.db"},
            "log": {"format": "json", "level": "debug"},
            "server": {"listen": "127.0.0.1:0"},
        }
        (tmp_path / "skyferry.yaml").write_text(json.dumps(config))

        @contextmanager
        def start(name: str) -> Iterator[Worker]:
            folder = tmp_path / name
            folder.mkdir()
            with run_command(folder, "run", "--config", tmp_path / "skyferry.yaml", "--no-live") as command:
                assert command.process.stdout is not None
                url = next(line.split()[1] for line in command.process.stdout if line.startswith("open "))
                yield Worker(command, url.removesuffix("/docs"))

        return start

    return choose


def test_a_killed_worker_is_replaced_in_each_role(fleet: Fleet, tmp_path: Path) -> None:
    """Until then one scans, and one exports the gauges of the fleet. What nobody scanned for a while is found afterwards."""
    start = fleet(SHORT)
    with start("a") as first:
        wait_until(lambda: first.list_roles() == [ALL])
        with start("b") as second:
            wait_until(lambda: second.list_roles() == [set(), ALL])
            wait_until(first.exports_fleet)
            assert not second.exports_fleet()
            assert (first.count_held(), second.count_held()) == (len(ALL), 0)
            (tmp_path / "in" / "one").write_bytes(b"1")
            wait_until((tmp_path / "out" / "one").exists)
            assert (first.noticed(), second.noticed()) == ({"one"}, set())
            os.kill(first.command.process.pid, signal.SIGKILL)
            (tmp_path / "in" / "two").write_bytes(b"2")
            wait_until(lambda: second.list_roles() == [ALL])
            wait_until((tmp_path / "out" / "two").exists)
            wait_until(second.exports_fleet)
            assert "two" in second.noticed()
            assert second.lost() == set()


def test_a_drained_worker_leaves_at_once(fleet: Fleet, tmp_path: Path) -> None:
    """The other has its roles long before its lease would have ended."""
    start = fleet(LONG)
    with start("a") as first:
        wait_until(lambda: first.list_roles() == [ALL])
        with start("b") as second:
            wait_until(lambda: second.list_roles() == [set(), ALL])
            first.command.process.send_signal(signal.SIGTERM)
            assert first.command.end()[0] == 0
            assert len(second.list_roles()) == 1
            wait_until(lambda: second.list_roles() == [ALL])
            (tmp_path / "in" / "one").write_bytes(b"1")
            wait_until((tmp_path / "out" / "one").exists)
            assert second.noticed() == {"one"}
            assert first.lost() == set()


def test_a_worker_that_was_stopped_does_nothing_under_its_old_roles(fleet: Fleet, tmp_path: Path) -> None:
    """Its kernel has queued the changes meanwhile, and its timers are overdue."""
    start = fleet(SHORT)
    with start("a") as first:
        wait_until(lambda: first.list_roles() == [ALL])
        with start("b") as second:
            wait_until(lambda: second.list_roles() == [set(), ALL])
            wait_until(first.exports_fleet)
            os.kill(first.command.process.pid, signal.SIGSTOP)
            (tmp_path / "in" / "one").write_bytes(b"1")
            wait_until(lambda: second.list_roles() == [ALL])
            wait_until((tmp_path / "out" / "one").exists)
            os.kill(first.command.process.pid, signal.SIGCONT)
            wait_until(lambda: second.list_roles() == [set(), ALL])
            wait_until(lambda: first.lost() == ALL)
            wait_until(lambda: not first.exports_fleet())
            assert first.noticed() == set()
            (tmp_path / "in" / "two").write_bytes(b"2")
            wait_until((tmp_path / "out" / "two").exists)
            assert (first.noticed(), second.noticed()) == (set(), {"one", "two"})
