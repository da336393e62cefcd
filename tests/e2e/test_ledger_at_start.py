"""`skyferry run` waits for a ledger at a server that is not up yet, and ends at once for what no waiting heals."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.processes.running import Command, run_command, wait_until

from skyferry.testing.servers import PostgresServer, RedisServer, postgres, redis
from skyferry.testing.servers.engines.daemon import Daemon

ENDED = 60  # seconds within which a command ends that does not wait


@contextmanager
def serve(engine: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Daemon]]:
    """Start a server of this test alone. Yield the URL of a ledger, and the server."""
    if engine == "postgres":
        with postgres() as server:
            monkeypatch.setenv("PGPASSWORD", server.password)
            yield f"postgresql://{server.user}@{server.address}/postgres", server.daemon
    else:
        with redis() as server:
            yield f"redis://{server.address}/ferry", server.daemon


@pytest.fixture(params=["postgres", "redis"])
def engine(request: pytest.FixtureRequest) -> str:
    """Return the engine of the ledger, if the machine has it."""
    name: str = request.param
    request.getfixturevalue(f"{name}_server")
    return name


def write_config(folder: Path, ledger: str) -> Path:
    (folder / "in").mkdir(exist_ok=True)
    config: dict[str, Any] = {
        "workspace": str(folder),
        "stores": {"source": {"url": "file://in"}, "destination": {"url": "file://out"}},
        "routes": [{"name": "all", "from": "source", "to": "destination"}],
        "queues": [{"name": "events", "url": "sqlite://queue.db"}],
        "ledger": {"url": ledger},
        "log": {"format": "json"},
        "server": {"listen": "127.0.0.1:0"},
    }
    file = folder / "skyferry.yaml"
    file.write_text(json.dumps(config))
    return file


def run_to_its_end(*arguments: object) -> tuple[int, str]:
    """Return exit code and standard error of a command that must not wait."""
    command = [sys.executable, "-m", "skyferry", *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=ENDED, check=False)
    return ended.returncode, ended.stderr


def find_url(command: Command) -> str:
    assert command.process.stdout is not None
    line = next(line for line in command.process.stdout if line.startswith("open "))
    return line.split()[1].removesuffix("/docs")


def ask(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def test_a_worker_waits_for_a_ledger_that_comes_up_later(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is alive and not ready meanwhile, says why once, and works as soon as the ledger answers. Other commands do not wait."""
    with serve(engine, monkeypatch) as (ledger, daemon):
        config = write_config(tmp_path, ledger)
        daemon.stop()
        with run_command(tmp_path, "run", "--config", config, "--no-live") as command:
            url = find_url(command)
            assert ask(f"{url}/health")[0] == 200
            status, reasons = ask(f"{url}/ready")
            assert status == 503
            assert "it waits for its ledger" in reasons
            assert "cannot be reached" in reasons
            assert ask(f"{url}/v1/transfers")[0] == 503
            status, text = ask(f"{url}/v1/status")
            shown = json.loads(text)
            assert (status, shown["workspace"], shown["in_flight"]) == (200, str(tmp_path.resolve()), 0)
            assert [check["state"] for check in shown["checks"]] == ["down", "down"]
            assert "skyferry_ledger_failing 1.0" in ask(f"{url}/metrics")[1]
            for other in (["run", "--until-idle"], ["status"]):
                assert run_to_its_end(*other, "--config", config)[0] == 4, other
            assert run_to_its_end("doctor", "--config", config)[0] == 1
            daemon.start()
            wait_until(lambda: ask(f"{url}/ready")[0] == 200)
            (tmp_path / "in" / "one").write_bytes(b"1")
            wait_until((tmp_path / "out" / "one").exists)
            assert command.records("health.restored")
            assert len({record["message"] for record in command.records("health.failing")}) == len(
                command.records("health.failing")
            )
            command.process.send_signal(signal.SIGTERM)
            assert command.end()[0] == 0


def test_a_signal_ends_the_wait(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was begun, so the code is that of a drain."""
    with serve(engine, monkeypatch) as (ledger, daemon):
        daemon.stop()
        with run_command(tmp_path, "run", "--config", write_config(tmp_path, ledger), "--no-live") as command:
            find_url(command)
            command.process.send_signal(signal.SIGTERM)
            assert command.end()[0] == 0
            assert not command.records("service.started")


def test_several_processes_wait_too(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parent waits, and starts its children once the ledger answers."""
    with serve("postgres", monkeypatch) as (ledger, daemon):
        daemon.stop()
        config = write_config(tmp_path, ledger)
        with run_command(tmp_path, "run", "--config", config, "--no-live", "--processes", "2") as command:
            find_url(command)
            assert not command.records("process.started")
            (tmp_path / "in" / "one").write_bytes(b"1")
            daemon.start()
            wait_until((tmp_path / "out" / "one").exists)
            assert len(command.pids()) == 2


def test_what_no_waiting_heals_ends_a_worker(
    postgres_server: PostgresServer, redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with its own exit code."""
    database = postgres_server.create_database()
    url = f"postgresql://{postgres_server.user}@{postgres_server.address}/{database}"
    monkeypatch.setenv("PGPASSWORD", postgres_server.password)

    def start(ledger: str) -> tuple[int, str]:
        return run_to_its_end("run", "--no-live", "--config", write_config(tmp_path, ledger))

    assert start("ftp://there/ledger")[0] == 2
    code, said = start(f"{url}_other")
    assert (code, "Create the database" in said) == (1, True)
    code, said = start(f"redis://{redis_server.address}/ferry?db=9999")
    assert (code, "the option db" in said) == (1, True)
    code, said = start(f"redis://{redis_server.address}/ferry?cluster=on")
    assert (code, "Remove cluster=on" in said) == (1, True)
    assert run_to_its_end("ledger", "migrate", "--create", "--config", write_config(tmp_path, url))[0] == 0
    postgres_server.run("COMMENT ON TABLE skyferry.transfers IS 'skyferry ledger 99, compatible from 98'", database)
    code, said = start(url)
    assert (code, "Update Skyferry" in said) == (5, True)
    monkeypatch.setenv("PGPASSWORD", "another one")
    code, said = start(url)
    assert (code, "the password" in said) == (1, True)
