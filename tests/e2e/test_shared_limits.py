"""Two workers as processes, on a ledger in SQLite and in PostgreSQL, share the limits of a store."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from skyferry.testing.servers import PostgresServer, postgres

OBJECTS = 150
RATE = 20.0
LATE = 1.0  # seconds of an answer of the ledger, on a busy machine


class Pair:
    """Two workers with one ledger and one queue, each with its own log and its own faults of the destination."""

    def __init__(self, folder: Path, where: dict[str, str], environ: dict[str, str]) -> None:
        """`where` has the URLs of the ledger and the queue."""
        self.folder, self._where, self._environ = folder, where, {**os.environ, **environ}
        self._running = ExitStack()
        (folder / "source").mkdir()
        (folder / "copy").mkdir()
        for number in range(OBJECTS):
            (folder / "source" / f"{number:03}").write_bytes(os.urandom(100))

    def start(self, name: str, watch: bool, **destination: Any) -> subprocess.Popen[bytes]:
        """Start a worker."""
        config = {
            "workspace": str(self.folder),
            "stores": {
                "source": {"url": "file://source", "watch": watch},
                "copy": {"url": "sim://copy", "shared_limits": True, **destination},
            },
            "routes": [{"name": "all", "from": "source", "to": "copy"}],
            "queues": [{"name": "events", "url": self._where["queue"], "lease": "10s"}],
            "ledger": {"url": self._where["ledger"], "lease": "10s"},
            "breaker": {"failures": 2, "cooldown": "1s", "max_cooldown": "2s"},
            "retry": {"request_tries": 1},
            "limits": {"transfers": 8, "adaptive": False, "max_in_flight_messages": 8, "batch": 4},
            "server": {"listen": "127.0.0.1:0"},
            "log": {"format": "json", "level": "debug"},
        }
        file = self.folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump(config))
        command = [sys.executable, "-m", "skyferry", "run", "--no-live", "--config", str(file)]
        log = self._running.enter_context((self.folder / f"{name}.log").open("ab"))
        worker = subprocess.Popen(command, env=self._environ, cwd=self.folder, stdout=log, stderr=log)
        self._running.callback(worker.wait)
        self._running.callback(worker.kill)
        return worker

    def records(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield the records of a worker's log, but for a line under way."""
        for line in (self.folder / f"{name}.log").read_bytes().split(b"\n")[:-1]:
            if line.startswith(b"{"):
                yield json.loads(line)

    def find_breakers(self, name: str) -> list[tuple[str, str]]:
        """Return the changes of the breaker in a worker's log, and the message of those that other workers made."""
        changes = (r for r in self.records(name) if r["event"] == "breaker.changed")
        return [(r["reason"], "" if r.get("error") else r.get("message", "")) for r in changes]

    def read_fallback(self, name: str) -> float:
        """Return the metric of a worker that says whether it keeps the limits by itself."""
        lines = (self.folder / f"{name}.log").read_text().splitlines()
        url = next(line.split()[1].removesuffix("/docs") for line in lines if line.startswith("open "))
        with urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:
            text: str = answer.read().decode()
        (value,) = re.findall(r"^skyferry_shared_limits_fallback (\S+)$", text, re.MULTILINE)
        return float(value)

    def count_copied(self) -> int:
        """Return the number of copies."""
        return len(list((self.folder / "copy").glob("[0-9]*")))

    def until(self, reached: Callable[[], bool], seconds: float = 180.0) -> None:
        """Wait until then."""
        deadline = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < deadline, [(n, self.find_breakers(n)) for n in "ab"] + [self.count_copied()]
            time.sleep(0.05)

    def close(self) -> None:
        """End both."""
        self._running.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    where, environ = {"ledger": "sqlite://ledger.db", "queue": "sqlite://queue.db"}, {}
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = f"postgresql://{server.user}@{server.address}/{server.create_database()}"
        where, environ = {"ledger": url, "queue": f"{url}/events"}, {"PGPASSWORD": server.password}
    made = Pair(tmp_path, where, environ)
    yield made
    made.close()


def test_two_workers_keep_to_one_rate(pair: Pair) -> None:
    """In every span of time both together send no more requests than the rate allows one; and both work."""
    for name in "ab":
        pair.start(name, watch=name == "a", requests_per_second=RATE)
    pair.until(lambda: pair.count_copied() == OBJECTS)
    pair.close()
    check_rate(pair)


def check_rate(pair: Pair, rate: float = RATE) -> None:
    """Both have worked, and kept to the rate together in every span of time."""
    by_worker = {
        name: [
            datetime.fromisoformat(r["time"]).timestamp() - r["duration"]
            for r in pair.records(name)
            if r["event"] == "store.request" and r["store"] == "copy"
        ]
        for name in "ab"
    }
    assert all(by_worker.values()), "both work"
    times = sorted(at for requests in by_worker.values() for at in requests)
    assert len(times) >= OBJECTS - 5, "the last lines may be missing"
    for span in (3.0, 5.0):
        most = max(bisect_left(times, at + span) - n for n, at in enumerate(times))
        assert most <= rate * (span + 1 + LATE) + 1, f"in {span} s"


def test_the_rate_holds_while_the_ledger_is_away_and_comes_back(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """Each worker falls back, and shares again; at no time do both together send more than the documentation says."""
    with postgres() as server:  # of this test alone, which stops it
        ledger = f"postgresql://{server.user}@{server.address}/postgres"
        pair = Pair(tmp_path, {"ledger": ledger, "queue": "sqlite://queue.db"}, {"PGPASSWORD": server.password})
        try:
            for name in "ab":
                pair.start(name, watch=name == "a", requests_per_second=RATE)
            pair.until(lambda: pair.count_copied() > 90)  # after some seconds, so they know of each other
            assert [pair.read_fallback(name) for name in "ab"] == [0, 0]
            server.daemon.stop()
            pair.until(lambda: [pair.read_fallback(name) for name in "ab"] == [1, 1])
            server.daemon.start()
            pair.until(lambda: [pair.read_fallback(name) for name in "ab"] == [0, 0])
            pair.until(lambda: pair.count_copied() == OBJECTS)
        finally:
            pair.close()
        parts = 0.0  # of the rate, that both together have by themselves: 1 if they know of each other
        for name in "ab":
            fallback, restored = [r for r in pair.records(name) if r["event"].startswith("shared_limits.")]
            assert (fallback["event"], restored["event"]) == ("shared_limits.fallback", "shared_limits.restored")
            parts += 1 / fallback["count"]
        check_rate(pair, RATE * parts)


def test_what_one_worker_finds_holds_for_the_other(pair: Pair) -> None:
    """It learns that the store is down, tries it, and closes the breaker for both; the other's own network was broken."""
    first = pair.start("a", watch=True, simulator={"outages": ["0s-1h"]})
    pair.until(lambda: ("open", "") in pair.find_breakers("a"))
    pair.start("b", watch=False)
    other = "another worker has found it"
    pair.until(lambda: ("open", other) in pair.find_breakers("b"))
    pair.until(lambda: ("closed", "") in pair.find_breakers("b"))
    pair.until(lambda: ("closed", other) in pair.find_breakers("a"))
    first.terminate()
    assert first.wait(60) == 0
    pair.until(lambda: pair.count_copied() == OBJECTS)
    found = [reason for reason, message in pair.find_breakers("b") if not message]
    assert "open" not in found, "it has found nothing wrong itself"
