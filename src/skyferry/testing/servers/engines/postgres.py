"""PostgreSQL: the machine's own programs, or PostgreSQL 16 from the wheel of pgserver."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from skyferry.testing.servers.engines.daemon import HOST, Daemon, install_wheel, running
from skyferry.testing.servers.process import ServerMissing, find_servers, free_ports, scratch_folder

WHEEL = ("pgserver", "0.1.4")  # contains PostgreSQL 16.2
DEBIAN = "/usr/lib/postgresql"  # has a folder of each version
OWNERS = ("postgres", "nobody")  # users that it runs as if this process is root, whom it refuses
DATABASES = count(1)


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running PostgreSQL, durable, with one superuser, whose password is asked for."""

    port: int
    daemon: Daemon
    programs: Path
    user: str = "skyferry"
    password: str = "a password of the tests"

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{HOST}:{self.port}"

    def run(self, sql: str, database: str = "postgres") -> str:
        """Run statements with psql, each in a transaction of its own. Return the rows, without headings."""
        command: list[str | Path] = [
            self.programs / "psql",
            "-h",
            HOST,
            "-p",
            str(self.port),
            "-U",
            self.user,
            "-d",
            database,
        ]
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [*command, "-v", "ON_ERROR_STOP=1", "-qAtX"],
            input=sql,
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PGPASSWORD": self.password},
        )
        return done.stdout.strip()

    def create_database(self) -> str:
        """Create an empty database. Return its name."""
        name = f"test_{os.getpid()}_{next(DATABASES)}"
        self.run(f"CREATE DATABASE {name}")
        return name


def install() -> None:
    """Install it from the wheel of pgserver, unless the machine has the programs."""
    if find_programs() is None:
        install_wheel(*WHEEL)


def find_programs() -> Path | None:
    """Return the folder of the programs. Debian does not put them into the PATH."""
    debian = sorted(Path(DEBIAN).glob("*/bin"), key=lambda folder: int(folder.parent.name))
    own = shutil.which("postgres")
    folders = [*([Path(own).resolve().parent] if own else []), *reversed(debian)]
    folders.append(find_servers() / WHEEL[0] / "pgserver" / "pginstall" / "bin")
    return next(
        (each for each in folders if all((each / name).exists() for name in ("postgres", "initdb", "psql"))), None
    )


@contextmanager
def standby(primary: PostgresServer, *options: str) -> Iterator[PostgresServer]:
    """A hot standby of `primary` for as long as the block, which confirms each of its commits. Takes about 3 s to start.

    `SELECT pg_promote()` makes it the primary.
    """
    if not (primary.programs / "pg_basebackup").exists():
        raise ServerMissing("postgres", "apt-get install postgresql")
    with _placed(primary.programs, *options) as (server, data, owner):
        command: list[str | Path] = [
            primary.programs / "pg_basebackup",
            "-h",
            HOST,
            "-p",
            str(primary.port),
            "-U",
            primary.user,
        ]
        subprocess.run(
            [*command, "-D", data, "-R", "-X", "stream", "-c", "fast", "--no-sync"],
            check=True,
            capture_output=True,
            user=owner or None,
            cwd=data,
            env={**os.environ, "PGPASSWORD": primary.password},
        )
        with running(server.daemon):
            primary.run("ALTER SYSTEM SET synchronous_standby_names = '*'")
            primary.run("SELECT pg_reload_conf()")
            yield server


@contextmanager
def postgres(*options: str, folder: Path | None = None) -> Iterator[PostgresServer]:
    """PostgreSQL for as long as the block, with settings such as `max_connections=50`. Takes about 1 s to start.

    With `folder`, the data stay there, and the next server with this folder has them.
    """
    programs = find_programs()
    if programs is None:
        raise ServerMissing("postgres")
    with _placed(programs, *options, folder=folder) as (server, data, owner):
        if not (data / "PG_VERSION").exists():
            _initialise(server, data, owner)
        with running(server.daemon):
            yield server


@contextmanager
def _placed(programs: Path, *options: str, folder: Path | None = None) -> Iterator[tuple[PostgresServer, Path, str]]:
    """A server that does not run yet, with a folder for its data, and the user that has the folder."""
    [port] = free_ports(1, HOST)
    owner = find_owner()
    with nullcontext(folder) if folder else scratch_folder("postgres") as place:
        data = place / "data"
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        if owner:
            place.chmod(0o755)  # the owner passes through it; the data below are closed
            shutil.chown(data, owner)
        server = PostgresServer(port, Daemon([], place / "log", lambda: False), programs)
        fixed = ["listen_addresses=" + HOST, f"unix_socket_directories={data}", "max_connections=200", "fsync=on"]
        settings = [part for option in (*fixed, *options) for part in ("-c", option)]
        server.daemon.command = [programs / "postgres", "-D", data, "-p", str(port), *settings]
        server.daemon.ready, server.daemon.user = lambda: _is_ready(server), owner
        server.daemon.graceful = signal.SIGINT  # fast shutdown: ends the sessions
        yield server, data, owner


def find_owner() -> str:
    if getpass.getuser() != "root" and os.geteuid() != 0:
        return ""
    import pwd

    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in OWNERS if name in known)


def _initialise(server: PostgresServer, data: Path, owner: str) -> None:
    password = data.parent / "password"
    password.write_text(server.password)
    if owner:
        shutil.chown(password, owner)
    command: list[str | Path] = [
        server.programs / "initdb",
        "-D",
        data,
        "-U",
        server.user,
        "--pwfile",
        password,
        "--auth=scram-sha-256",
    ]
    subprocess.run(
        [*command, "--encoding=UTF8", "--locale=C", "--no-sync"],
        check=True,
        capture_output=True,
        user=owner or None,
        cwd=data,
    )


def _is_ready(server: PostgresServer) -> bool:
    try:
        return server.run("SELECT 1") == "1"
    except subprocess.CalledProcessError:
        return False
