"""`run --until-idle` ends where a queue refuses what no waiting changes."""

from __future__ import annotations

import socket
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from redis import Redis

from skyferry.cli.exit_codes import ExitCode
from skyferry.engine import queue_health
from skyferry.testing.servers import PostgresServer, RedisServer

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

NAMES = count(1)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("redis://{redis}/{name}", "The key is not a stream"),
        ("redis://stranger@{redis}/{name}", "Check the user of the URL"),
        ("postgresql://skyferry@{postgres}/missing/q", "Create the database"),
        ("postgresql://stranger@{postgres}/postgres/q", "Check the user of the URL"),
    ],
)
def test_a_queue_that_refuses_ends_the_run(
    address: str,
    said: str,
    redis_server: RedisServer,
    postgres_server: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
    cli: Cli,
) -> None:
    """Although a source has events for it, which cannot be sent."""
    name = f"refused-{next(NAMES)}"
    with Redis(port=redis_server.port) as client:
        client.set(name, "no stream")
    monkeypatch.setenv("PGPASSWORD", "wrong" if "stranger" in address else postgres_server.password)
    monkeypatch.setenv("REDIS_PASSWORD", "wrong")
    monkeypatch.setenv("SKYFERRY_SERVER__LISTEN", "127.0.0.1:0")
    servers = {"redis": redis_server.address, "postgres": postgres_server.address}
    stores = "stores: {a: {url: 'file://a'}, b: {url: 'file://b'}}"
    queues = f"queues: [{{name: q, url: '{address.format(name=name, **servers)}'}}]"
    Path("skyferry.yaml").write_text(f"{stores}\nroutes: [{{name: r, from: a, to: b}}]\n{queues}\n")
    Path("skyferry-data", "a").mkdir(parents=True)
    Path("skyferry-data", "a", "k").write_text("x")
    result = cli("run", "--until-idle")
    assert (result.code, said in result.err) == (ExitCode.FAILED, True), result.err


def test_a_queue_that_cannot_be_reached_ends_a_run_until_idle(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the exit code that says: try again later."""
    monkeypatch.setattr(queue_health, "UNREACHABLE", 0.5)
    monkeypatch.setenv("SKYFERRY_SERVER__LISTEN", "127.0.0.1:0")
    stores = "stores: {a: {url: 'file://a'}, b: {url: 'file://b'}}"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    queues = f"queues: [{{name: q, url: 'redis://127.0.0.1:{port}/q'}}]"
    Path("skyferry.yaml").write_text(f"{stores}\nroutes: [{{name: r, from: a, to: b}}]\n{queues}\n")
    result = cli("run", "--until-idle")
    assert (result.code, "error: q: down for 0.5 s: " in result.err) == (ExitCode.UNREACHABLE, True), result.err
