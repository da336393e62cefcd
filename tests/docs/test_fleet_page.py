"""The commands of the page of a fleet bring up PostgreSQL with two workers, and Redis with two workers, as printed."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE, STDOUT, Popen

import pytest
from tests.absent import absent
from tests.docs.pages import DOCS
from tests.docs.transcripts import agree

from skyferry.testing.servers import ServerMissing
from skyferry.testing.servers.engines.postgres import find_owner, find_programs
from skyferry.testing.servers.engines.redis import find_server
from skyferry.testing.servers.process import free_ports, scratch_folder

PORTS = ("5433", "6380", "8080", "8081")
ELSEWHERE = ("sudo ", "docker ")  # blocks that need root, the network or a daemon
END = "\036"  # ends the output of a command
WITHIN = 300  # seconds for all commands


def read_steps(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the commands of the section, each with the output that the page shows for it."""
    for kind, body in re.findall(r"^```(\w+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        if body.startswith(ELSEWHERE):
            continue
        if kind == "yaml":
            yield f"cat >{body.split()[1]} <<'END'\n{body}END", []
        elif kind == "sh":
            yield body, []
        else:
            for step in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
                command, *shown = step.rstrip().split("\n")
                yield command, shown


def put_programs(folder: Path) -> None:
    """Put the programs of the page into a folder. PostgreSQL refuses root, so another user runs it then."""
    programs, server, owner = find_programs(), find_server(), find_owner()
    if programs is None:
        absent(ServerMissing("postgres"))
    if server is None:
        absent(ServerMissing("redis"))
    assert programs is not None
    prefix = f"runuser -u {owner} -- " if owner else ""
    found = {name: f"{prefix}{shlex.quote(str(programs / name))}" for name in ("initdb", "pg_ctl")}
    found["createdb"] = shlex.quote(str(programs / "createdb"))
    found["redis-server"] = shlex.quote(str(server))
    found["redis-cli"] = shlex.quote(str(Path(shutil.which(str(server)) or server).with_name("redis-cli")))
    found["skyferry"] = f"{shlex.quote(sys.executable)} -m skyferry"
    for name, command in found.items():
        (folder / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (folder / name).chmod(0o755)
    if owner:  # it writes into the folder of the page
        (folder / "mktemp").write_text('#!/bin/sh\nmade=$(/usr/bin/mktemp "$@") && chmod 777 "$made" && echo "$made"\n')
        (folder / "mktemp").chmod(0o755)


def run(script: str, folder: Path) -> tuple[int, str]:
    """Run a script with the programs of the folder. Return its exit code and its output."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(("SKYFERRY_", "PG"))}
    more = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "110", "TMPDIR": str(folder)}
    command = ["bash", "-ec", script]
    with Popen(command, env=others | more, stdout=PIPE, stderr=STDOUT, text=True, start_new_session=True) as bash:
        try:
            printed = bash.communicate(timeout=WITHIN)[0]
        finally:
            with suppress(ProcessLookupError):
                os.killpg(bash.pid, signal.SIGKILL)
    return bash.returncode, printed


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with the programs, which another user may enter. The servers that run in it end with it."""
    with scratch_folder("page") as made:
        made.chmod(0o755)
        put_programs(made)
        yield made
        for database in made.glob("*/database"):
            run(f"pg_ctl --pgdata {shlex.quote(str(database))} --mode immediate stop || true", made)


def test_the_commands_of_the_page_work_as_printed(folder: Path) -> None:
    """The ports are others, because those of the page may be in use."""
    page = (DOCS / "operations/fleet.md").read_text("utf-8")
    section = page[page.index("## Try it on one machine") : page.index("## What it promises")]
    ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
    section = re.sub("|".join(PORTS), lambda port: ports[port[0]], section)
    steps = list(read_steps(section))
    code, output = run("\n".join(f"{command}\nprintf '{END}'" for command, _ in steps), folder)
    try:
        assert code == 0, output
    finally:
        run(f"redis-cli -p {ports['6380']} shutdown nosave 2>&1 || true", folder)
    for (command, shown), printed in zip(steps, output.split("\036")[:-1], strict=True):
        assert not shown or agree(shown, printed.splitlines()), f"$ {command}\n{printed}"
