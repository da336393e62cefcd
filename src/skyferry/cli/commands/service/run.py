"""`skyferry run`: run the service with its HTTP server and its display."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click

from skyferry.cli import resources, streams
from skyferry.cli.arguments.options import ConfigFile, Processes, Workspace, parse_processes
from skyferry.cli.config_file import find_config
from skyferry.cli.event_loop import run_async, tune_collector
from skyferry.cli.exit_codes import ExitCode
from skyferry.cli.parameters import Option, format_command
from skyferry.cli.render import output
from skyferry.cli.signals import handle_signals
from skyferry.errors import ConfigError, LedgerError

if TYPE_CHECKING:
    from skyferry.cli.render.observers import RunObservers
    from skyferry.config.settings import Settings
    from skyferry.engine.service import Service
    from skyferry.ports import DeadLetters
    from skyferry.processes.pool import PoolJob, WorkerPool
    from skyferry.server import StartingService


def run(
    config: ConfigFile = None,
    workspace: Workspace = None,
    listen: Annotated[
        str | None,
        Option("--listen", metavar="HOST:PORT", help="The address of the HTTP server; 127.0.0.1:8080 by default."),
    ] = None,
    until_idle: Annotated[
        bool,
        Option("--until-idle", help="Exit when no work is left, with code 3 if there are dead letters."),
    ] = False,
    samples: Annotated[
        bool,
        Option("--samples/--no-samples", help="Write a few sample objects into the source folder if it is empty."),
    ] = False,
    live: Annotated[
        bool | None,
        Option(
            "--live/--no-live",
            help="Show a live view instead of log lines; by default on a terminal.",
            show_default=False,
        ),
    ] = None,
    processes: Processes = "1",
) -> None:
    """Run the service until a signal. It shows a live view on a terminal, otherwise log lines on standard error.

    The first SIGINT (Ctrl-C), SIGTERM or SIGHUP drains: transfers in flight may finish within `drain` seconds, other messages
    are released, and the exit code is 0. A second SIGINT or SIGTERM ends the process at once. Under nohup, a SIGHUP is ignored.

    A ledger at a server that does not answer is waited for, at the start too: the API is up, and /ready answers 503 until then.
    With --until-idle, the command ends with exit code 4 instead, or if a queue is down for 30 seconds, or if nothing but work
    for a destination folder is left that is missing or replaced for 30 seconds. An error that waiting cannot correct, such as a
    wrong password, ends it at once; with --until-idle at a queue, too.

    With --processes, child processes do the work. This one watches folders, serves the API, publishes dead letters, writes one
    log (`worker` is the number of the process), and starts a child again that ends: its work is taken over. A child that does
    not drain makes the exit code 1.
    """
    from skyferry.cli.commands.service.samples import write_samples
    from skyferry.cli.commands.service.source_folders import create_source_folders
    from skyferry.processes import prepare_processes

    streams.tolerate_loss()
    file = find_config(config, os.environ).file
    settings = resources.load_settings(file, workspace, listen)
    count = parse_processes(processes, settings.limits)
    _check_workspace(settings.workspace)
    job = prepare_processes(settings, count) if count > 1 else None
    create_source_folders(settings)
    if samples:
        write_samples(settings)
    shows_live = sys.stdout.isatty() if live is None else live
    raise click.exceptions.Exit(run_async(_run(settings, file and file.resolve(), until_idle, shows_live, job)))


def _check_workspace(workspace: Path) -> None:
    """Raise ConfigError for a path that watching and reports cannot take."""
    try:
        os.path.abspath(workspace).encode()
    except UnicodeEncodeError as error:
        hint = "rename the folder, or choose another with --workspace"
        raise ConfigError("the path of the workspace is not valid UTF-8", where=str(workspace), hint=hint) from error


async def _run(settings: Settings, config: Path | None, until_idle: bool, live: bool, job: PoolJob | None) -> ExitCode:
    from skyferry.cli.commands.service.source_folders import find_watched_folders
    from skyferry.cli.render.observers import open_observers
    from skyferry.processes import open_pool
    from skyferry.server import StartingService
    from skyferry.wiring import build_service

    async with AsyncExitStack() as opened, AsyncExitStack() as stack:  # the server ends before the service is closed
        show = opened.enter_context(open_observers(settings, live))
        pool = open_pool(job, show.observer, show.logs.write) if job else None
        start = StartingService()
        url = await stack.enter_async_context(_serve_api(start, settings, show))
        on_wait = None if until_idle else start.record_failure
        building = asyncio.create_task(
            opened.enter_async_context(
                build_service(settings, show.observer, show.sampled, create=True, pool=pool, on_wait=on_wait)
            ),
            name="build service",
        )
        received = stack.enter_context(handle_signals(partial(_drain, building), partial(_end_at_once, show, pool)))
        await _wait_until_known(building, start)
        await stack.enter_async_context(show.running(url, find_watched_folders(settings), config))
        await asyncio.wait([building])
        if building.cancelled():  # by a signal: nothing was begun
            return ExitCode.OK
        service = building.result()
        show.attach(service.last_status)
        start.begin(service)
        tune_collector()
        await service.run(until_idle)
        letters = await _count_letters(service.ledger, drained=bool(received) or not until_idle)
    if letters:
        print(f"{output.format_count(letters, 'dead letter')}: {format_command('dead-letters list')}", file=sys.stderr)
    if pool is not None and pool.failed:
        return ExitCode.FAILED
    return ExitCode.DEAD_LETTERS if until_idle and letters and not received else ExitCode.OK


async def _wait_until_known(building: asyncio.Task[Service], start: StartingService) -> None:
    """Return once the service is built, or is known to wait for its ledger. Raises the error that ended the building."""
    waits = asyncio.create_task(start.known.wait(), name="wait for the ledger")
    await asyncio.wait([building, waits], return_when=asyncio.FIRST_COMPLETED)
    waits.cancel()
    if building.done() and not building.cancelled():
        start.begin(building.result())  # before its address is printed


def _drain(building: asyncio.Task[Service]) -> None:
    """Drain the service, or stop building it."""
    if not building.cancel() and not building.cancelled() and building.exception() is None:
        building.result().drain()


def _end_at_once(show: RunObservers, pool: WorkerPool | None) -> None:
    show.close()
    if pool is not None:
        pool.kill()


async def _count_letters(ledger: DeadLetters, *, drained: bool) -> int:
    """Return the number of dead letters. Raises LedgerError; returns 0 instead when `drained`: it must not fail a drain."""
    try:
        return sum(count for _, _, count in await ledger.count_dead_letters())
    except LedgerError:
        if not drained:
            raise
        return 0


@asynccontextmanager
async def _serve_api(service: StartingService, settings: Settings, show: RunObservers) -> AsyncIterator[str]:
    from skyferry.server import PushEndpoints, check_listen, create_app, serve

    host, port = check_listen(settings.server)
    endpoints = PushEndpoints.from_settings(settings.push, os.environ, time.time)
    token, workspace = resources.load_workspace_token(settings), str(settings.workspace.resolve())
    app = create_app(service, settings.server, show.registry, endpoints, token, workspace)
    async with serve(app, host, port, settings.server) as url:
        yield url
