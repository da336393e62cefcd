"""Redis, NATS and PostgreSQL for tests: on loopback, with data that survive a restart and a crash."""

from __future__ import annotations

import signal
import socket
import subprocess
from typing import Any

import pytest

from skyferry.testing.servers import NatsServer, PostgresServer, RedisServer, ServerMissing
from skyferry.testing.servers.engines.daemon import Daemon, is_listening
from skyferry.testing.servers.engines.nats import nats
from skyferry.testing.servers.engines.postgres import postgres
from skyferry.testing.servers.engines.redis import find_version, redis


def ask(server: RedisServer, line: str) -> bytes:
    """Send one inline command."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(f"{line}\r\n".encode())
        return connection.recv(1000).strip()


def test_redis_keeps_what_it_has_written_after_a_crash(redis_server: RedisServer) -> None:
    assert find_version() >= (6, 2)
    with redis("--appendfsync", "always") as server:
        assert ask(server, "SET a 1") == b"+OK"
        server.daemon.kill()
        assert not is_listening(server.port)
        server.daemon.start()
        assert ask(server, "GET a").endswith(b"1")


def test_nats_has_streams_and_comes_back(nats_server: NatsServer) -> None:
    with nats() as server:
        server.daemon.restart()
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
            assert b'"jetstream":true' in connection.recv(4000)


def test_postgres_has_databases_and_comes_back_after_a_crash(postgres_server: PostgresServer) -> None:
    one, two = postgres_server.create_database(), postgres_server.create_database()
    assert one != two
    with postgres() as server:
        server.run("CREATE TABLE t (x int); INSERT INTO t VALUES (7)")
        server.daemon.kill()
        server.daemon.start()
        assert server.run("SELECT x FROM t") == "7"


def test_postgres_asks_for_the_password(postgres_server: PostgresServer) -> None:
    wrong = PostgresServer(postgres_server.port, postgres_server.daemon, postgres_server.programs, password="wrong")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        wrong.run("SELECT 1")
    assert "password authentication failed" in caught.value.stderr


def test_a_paused_server_hangs_until_it_is_continued(redis_server: RedisServer) -> None:
    with redis() as server:
        server.daemon.send(signal.SIGSTOP)
        with socket.create_connection(("127.0.0.1", server.port), 5) as connection:
            connection.settimeout(0.2)
            connection.sendall(b"PING\r\n")
            with pytest.raises(TimeoutError):
                connection.recv(10)
        server.daemon.send(signal.SIGCONT)
        assert ask(server, "PING") == b"+PONG"


def test_a_daemon_starts_and_stops_once(redis_server: RedisServer) -> None:
    """Each step is idempotent."""
    again = Daemon(redis_server.daemon.command, redis_server.daemon.log, lambda: True)
    again.stop()
    again.kill()


@pytest.mark.parametrize("server", [redis, nats, postgres])
def test_what_is_not_installed_names_the_command(
    server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("SKYFERRY_SERVERS", str(tmp_path_factory.mktemp("none")))
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("skyferry.testing.servers.engines.postgres.DEBIAN", "/nonexistent")
    with pytest.raises(ServerMissing, match=f"servers install {server.__name__}"), server():
        pass
