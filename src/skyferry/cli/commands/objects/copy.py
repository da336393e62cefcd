"""`skyferry copy`: one object, or all below a prefix, from one store to another, now."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from skyferry.cli import resources
from skyferry.cli.arguments import object_urls as places
from skyferry.cli.arguments.options import ConfigFile, Json, Workspace, not_both, renamed_flag, span_of
from skyferry.cli.exit_codes import ExitCode
from skyferry.cli.render import output
from skyferry.errors import ConfigError, InvalidKey, NotFound

if TYPE_CHECKING:
    from skyferry.cli.arguments.object_urls import Named
    from skyferry.cli.render.copy_progress import Tally
    from skyferry.config.settings import Settings
    from skyferry.discovery.listing import Ends, ListingSource
    from skyferry.engine.service import Service
    from skyferry.wiring import SourceContext

ROUTE = "copy"


def copy(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SRC", help="An object or a prefix: s3://BUCKET/KEY, gs://…, az://ACCOUNT/CONTAINER/KEY, a path."
        ),
    ],
    destination: Annotated[
        str, typer.Argument(metavar="DST", help="Where to, likewise; what ends with / is a prefix or a folder.")
    ],
    ignore_ledger: Annotated[
        bool, typer.Option("--ignore-ledger", help="Ignore what earlier runs remember, and look at every object.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", hidden=True, callback=renamed_flag)] = False,
    storage_class: Annotated[
        str, typer.Option("--storage-class", metavar="NAME", help="Of what is written; keep = the source's.")
    ] = "",
    retry_for: Annotated[
        str,
        typer.Option(
            "--retry-for",
            metavar="DURATION",
            help="How long a store may be down while it is looked at or listed, as in 30s.",
        ),
    ] = "5m",
    config: ConfigFile = None,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Copy one object, or all below a prefix, verified, between any two of S3, Cloud Storage, Azure and folders.

    The engine is that of `run`, and so are its guarantees: every byte is proven at both ends, no version of an object replaces a
    newer one of it, a large object goes on where an interrupted run has stopped. What is at the destination from elsewhere is
    replaced, however new. What was copied is remembered
    in the workspace: a second run skips what has not changed and is still there, by name and size. Exit code 0 says that
    everything listed has arrived, 3 that something has not.

    A store that is down or throttles is waited for, and standard error says so. A listing waits for --retry-for at most; then the
    exit code is 4. What is listed already waits until the store answers. Ctrl-C ends it. What waiting cannot mend (a bucket that
    does not exist, a denial, credentials that are refused) ends it at once.

    In a URL, what is special is percent-encoded (%3F for ?), and options follow the key:
    s3://BUCKET/KEY?endpoint=…&identity=static. A bucket that is in the configuration is reached as it says there. A path, and
    what follows file://, is relative to the current folder.

    Symbolic links, FIFOs, sockets and devices in a folder are no objects: they are counted and skipped.

    JSON: `source`, `destination`, `complete`, `objects` (number `listed`, `copied`, `present` already, `gone` meanwhile,
    `failed`, and `special`: links, FIFOs, sockets and devices), `bytes` (`listed`, `copied`), `retries`, `seconds`, `lossy`
    (what the destination cannot carry), and the first
    `failures`, each with `key`, `error`, `message` and `hint`.
    """
    not_both("--again", again, ignore_ledger)
    patience = span_of(retry_for)
    settings = resources.load_settings(config, workspace)
    try:
        origin = places.named(source, settings)
        target = places.named(destination, settings, folder=origin.folder)
    except InvalidKey as error:
        raise ConfigError(str(error)) from error
    _prepare(origin, target)
    raise typer.Exit(
        asyncio.run(
            _copy(
                origin,
                target,
                _settings(origin, target, settings, storage_class, ignore_ledger or again),
                patience,
                json,
            )
        )
    )


def _prepare(source: Named, destination: Named) -> None:
    if source.path is not None and not source.path.is_dir():
        raise NotFound("there is no such file or folder", where=source.text)
    if source.identity == destination.identity and source.key == destination.key:
        raise ConfigError("source and destination are the same", where=source.text)
    if destination.path is not None:
        if source.path is not None and source.folder and destination.path.is_relative_to(source.path):
            raise ConfigError("the destination lies within the source", where=destination.text)
        destination.path.mkdir(parents=True, exist_ok=True)


def _settings(source: Named, destination: Named, given: Settings, storage_class: str, ignore_ledger: bool) -> Settings:
    """One route, a queue in memory, and a ledger for this pair of stores."""
    from skyferry.config.settings import LedgerSettings, QueueSettings, RouteSettings
    from skyferry.wiring import copy_ledgers

    ledger = copy_ledgers.choose_ledger(source.identity, destination.identity)
    route = RouteSettings(
        name=ROUTE,
        source="source",
        destination="destination",
        allow_loopback=True,
        directed=True,
        storage_class=storage_class,
    )
    return given.model_copy(
        update={
            "stores": {"source": source.store, "destination": destination.store},
            "routes": (route,),
            "queues": (QueueSettings(name=ROUTE, url="memory://copy"),),
            "dead_letters": None,
            "ledger": LedgerSettings(url="memory://copy") if ignore_ledger else ledger,
        }
    )


def _ends(source: Named, destination: Named) -> Ends:
    from skyferry.discovery.listing import Ends

    return Ends(source.ref, destination.ref, one_store=source.identity == destination.identity)


async def _copy(source: Named, destination: Named, settings: Settings, patience: float, json: bool) -> ExitCode:
    from skyferry.cli.render.copy_progress import Tally, bar

    tally = Tally()
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(_service(settings, _ends(source, destination), tally, patience))
        interrupted = stack.enter_context(_interruptible(service))
        await stack.enter_async_context(bar(tally, sys.stderr.isatty() and not json))
        await service.run(until_idle=True)
    if json:
        output.emit(tally.document(source.text, destination.text))
    else:
        tally.tell()
    if interrupted:
        print("interrupted: the same command goes on", file=sys.stderr)
        return ExitCode.INTERRUPTED
    return ExitCode.OK if tally.complete else ExitCode.DEAD_LETTERS


def _service(settings: Settings, ends: Ends, tally: Tally, patience: float) -> AbstractAsyncContextManager[Service]:
    from skyferry.discovery.listing import CopyPorts, ListingSource
    from skyferry.events.native import encode_event
    from skyferry.wiring import build_service, copy_ledgers, wait_out_outages

    kept = copy_ledgers.open_ledger(settings)

    def find(parts: SourceContext) -> Sequence[ListingSource]:
        ledger = parts.context.ledger
        ports = CopyPorts(
            source=wait_out_outages(parts.stores["source"], patience),
            destination=wait_out_outages(parts.stores["destination"], patience),
            ledger=ledger,
            queue=parts.queue,
            clock=parts.context.clock,
            encode=encode_event,
            doubt=kept.doubt if kept else lambda key: None,
            refuse=tally.refused,
        )
        return [ListingSource(ends, ports, tally.found)]

    return build_service(settings, tally, find=find, ledger=kept)


@contextmanager
def _interruptible(service: Service) -> Iterator[list[int]]:
    """While inside: the first signal ends it when what is in flight is done, the second at once. What came is in the list."""
    came: list[int] = []

    def stop(number: int) -> None:
        if came:
            os._exit(ExitCode.INTERRUPTED)
        came.append(number)
        print(
            "ending: what has begun is finished first; the same signal again ends at once", file=sys.stderr, flush=True
        )
        service.drain()

    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stop, number)
    try:
        yield came
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
