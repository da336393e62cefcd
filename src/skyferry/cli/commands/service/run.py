"""`skyferry run`: the service, its HTTP server, and what is to be seen of both."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from skyferry.cli import resources, streams
from skyferry.cli.arguments.options import ConfigFile, Workspace
from skyferry.cli.exit_codes import ExitCode
from skyferry.cli.render import output
from skyferry.errors import LedgerError

if TYPE_CHECKING:
    from skyferry.cli.render.observers import Show
    from skyferry.config.settings import Settings
    from skyferry.engine.service import Service
    from skyferry.ports import DeadLetters


def run(
    config: ConfigFile = None,
    workspace: Workspace = None,
    listen: Annotated[
        str | None,
        typer.Option("--listen", metavar="HOST:PORT", help="Where the HTTP server listens; 127.0.0.1:8080 by default."),
    ] = None,
    until_idle: Annotated[
        bool,
        typer.Option("--until-idle", help="End when nothing is left to do; exit code 3 if there are dead letters."),
    ] = False,
    samples: Annotated[
        bool, typer.Option("--samples/--no-samples", help="Put a few objects into the source folder if it is empty.")
    ] = False,
    live: Annotated[
        bool | None,
        typer.Option(
            "--live/--no-live", help="A live view instead of log lines; by default on a terminal.", show_default=False
        ),
    ] = None,
) -> None:
    """Run the service until a signal, and show what happens: a live view on a terminal, else log lines on standard error.

    The first SIGINT (Ctrl-C), SIGTERM or SIGHUP drains: what is in flight may finish within `drain` seconds, the rest is given back
    untouched, and the exit code is 0. The second one ends the process at once.
    """
    from skyferry.cli.commands.service.samples import write_samples
    from skyferry.cli.commands.service.source_folders import create_source_folders

    streams.lose()
    settings = resources.load_settings(config, workspace, listen)
    create_source_folders(settings)
    if samples:
        write_samples(settings)
    raise typer.Exit(asyncio.run(_run(settings, until_idle, sys.stdout.isatty() if live is None else live)))


async def _run(settings: Settings, until_idle: bool, live: bool) -> ExitCode:
    from skyferry.cli.commands.service.source_folders import find_watched_folders
    from skyferry.cli.render.observers import shown
    from skyferry.wiring import build_service

    async with AsyncExitStack() as stack:
        show = stack.enter_context(shown(settings, live))
        service = await stack.enter_async_context(build_service(settings, show.observer, show.sampled, create=True))
        url = await stack.enter_async_context(_served(service, settings, show))
        stop = stack.enter_context(_Stop(service.drain, show.close))
        await stack.enter_async_context(show.running(url, find_watched_folders(settings)))
        gc.freeze()  # what was made up to here stays: looking through it again and again took a tenth of each decision
        await service.run(until_idle)
        letters = await _letters(service.ledger, drained=stop.asked or not until_idle)
    if letters:
        print(f"{output.count(letters, 'dead letter')}: skyferry dead-letters list", file=sys.stderr)
    return ExitCode.DEAD_LETTERS if until_idle and letters and not stop.asked else ExitCode.OK


async def _letters(ledger: DeadLetters, *, drained: bool) -> int:
    """Count the dead letters; 0 where a ledger that fails must not change how a drain ends. Raises LedgerError otherwise."""
    try:
        return sum(count for _, _, count in await ledger.count_dead_letters())
    except LedgerError:
        if not drained:
            raise
        return 0


@asynccontextmanager
async def _served(service: Service, settings: Settings, show: Show) -> AsyncIterator[str]:
    from skyferry.server import PushEndpoints, check_listen, create_app, serve

    host, port = check_listen(settings.server)
    endpoints = PushEndpoints.from_settings(settings.push, os.environ, time.time)
    app = create_app(service, settings.server, show.registry, endpoints, resources.own_token(settings))
    async with serve(app, host, port, settings.server) as url:
        yield url


class _Stop:
    """While inside: the first signal drains, the second ends the process."""

    def __init__(self, drain: Callable[[], None], last_words: Callable[[], None]) -> None:
        self.asked = False
        self._drain, self._last_words = drain, last_words

    def __enter__(self) -> _Stop:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._signal)
        return self

    def __exit__(self, *error: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().remove_signal_handler(number)

    def _signal(self) -> None:
        if self.asked:
            self._last_words()
            os._exit(ExitCode.INTERRUPTED)  # threads may be in the middle of something that nobody wants to wait for
        self.asked = True
        self._drain()
