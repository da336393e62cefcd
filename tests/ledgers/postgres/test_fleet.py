"""Two services on one ledger and one queue in PostgreSQL: one is killed, and nothing is missing or copied twice."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import yaml

from skyferry.testing.servers import PostgresServer

OBJECTS = 300


def test_a_killed_worker_is_taken_over(postgres_server: PostgresServer, tmp_path: Path) -> None:
    """`run --until-idle` of the other ends only once everything is settled."""
    database = postgres_server.create_database()
    where = f"postgresql://{postgres_server.user}@{postgres_server.address}/{database}"
    source = tmp_path / "source"
    source.mkdir()
    for number in range(OBJECTS):
        (source / f"{number:03}").write_bytes(os.urandom(100))
    stores = {"a": {"url": f"file://{source}"}, "b": {"url": f"sim://{tmp_path}/copy?latency=0.05"}}
    (tmp_path / "copy").mkdir()
    config = {
        "stores": stores,
        "routes": [{"name": "r", "from": "a", "to": "b"}],
        "queues": [{"name": "q", "url": f"{where}/events", "lease": "5s"}],
        "ledger": {"url": where, "lease": "5s"},
        "limits": {"transfers": 4},
    }
    (tmp_path / "skyferry.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "skyferry", "run", "--no-live", "--listen", "127.0.0.1:0"]
    command += ["--config", str(tmp_path / "skyferry.yaml")]
    environ = {**os.environ, "PGPASSWORD": postgres_server.password}

    def run(*more: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*command, *more], env=environ, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    with run() as victim:
        deadline = time.monotonic() + 60
        while len(list((tmp_path / "copy").glob("[0-9]*"))) < OBJECTS // 10:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        victim.kill()
    with run("--until-idle") as other:
        assert other.wait(120) == 0
    assert {path.name for path in (tmp_path / "copy").glob("[0-9]*")} == {f"{n:03}" for n in range(OBJECTS)}
    counts = postgres_server.run("SELECT state, count(*) FROM skyferry.transfers GROUP BY state", database)
    assert counts == f"2|{OBJECTS}"
    assert postgres_server.run("SELECT count(*) FROM skyferry.places WHERE owner <> 0", database) == "0"
