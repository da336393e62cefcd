"""Two services on one ledger and one queue in Redis: one is killed, and nothing is missing or copied twice."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import yaml
from tests.ledgers.redis.places import connect

from skyferry.ledgers.redis.ledger import open_ledger
from skyferry.model import State
from skyferry.testing.servers import RedisServer

OBJECTS = 300


async def test_a_killed_worker_is_taken_over(redis_server: RedisServer, tmp_path: Path) -> None:
    """`run --until-idle` of the other ends only once everything is settled."""
    name = f"fleet-{os.getpid()}"
    source = tmp_path / "source"
    source.mkdir()
    for number in range(OBJECTS):
        (source / f"{number:03}").write_bytes(os.urandom(100))
    stores = {"a": {"url": f"file://{source}"}, "b": {"url": f"sim://{tmp_path}/copy?latency=0.05"}}
    (tmp_path / "copy").mkdir()
    config = {
        "stores": stores,
        "routes": [{"name": "r", "from": "a", "to": "b"}],
        "queues": [{"name": "q", "url": f"redis://{redis_server.address}/{name}", "lease": "5s"}],
        "ledger": {"url": f"redis://{redis_server.address}/{name}", "lease": "5s"},
        "limits": {"transfers": 4},
    }
    (tmp_path / "skyferry.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "skyferry", "run", "--no-live", "--listen", "127.0.0.1:0"]
    command += ["--config", str(tmp_path / "skyferry.yaml")]

    def run(*more: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*command, *more], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    with run() as victim:
        deadline = time.monotonic() + 60
        while len(list((tmp_path / "copy").glob("[0-9]*"))) < OBJECTS // 10:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        victim.kill()
    with run("--until-idle") as other:
        assert other.wait(120) == 0
    assert {path.name for path in (tmp_path / "copy").glob("[0-9]*")} == {f"{n:03}" for n in range(OBJECTS)}
    ledger = await open_ledger(connect(redis_server, name), "test", 30.0)
    counts = await ledger.count_transfers()
    await ledger.close()
    assert {state: count for state, count in counts.items() if count} == {State.DONE: OBJECTS}
