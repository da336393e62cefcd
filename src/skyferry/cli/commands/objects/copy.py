"""`skyferry copy`: copy one object, or all objects with a prefix, from one store to another."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Annotated

import click

from skyferry.cli import resources
from skyferry.cli.arguments import object_urls
from skyferry.cli.arguments.options import ConfigFile, Json, Workspace, parse_span, reject_both_names, warn_renamed_flag
from skyferry.cli.exit_codes import ExitCode
from skyferry.cli.parameters import Argument, Option
from skyferry.cli.render import output, stalls
from skyferry.cli.signals import handle_signals
from skyferry.errors import ConfigError, InvalidKey, NotFound

if TYPE_CHECKING:
    from skyferry.cli.arguments.object_urls import ObjectLocation
    from skyferry.cli.render.copy_progress import CopyProgress
    from skyferry.config.settings import Settings
    from skyferry.discovery.listing import Ends, ListingSource
    from skyferry.engine.service import Service
    from skyferry.wiring import SourceContext

ROUTE = "copy"


def copy(
    source: Annotated[
        str,
        Argument(
            metavar="SRC", help="An object or a prefix: s3://BUCKET/KEY, gs://…, az://ACCOUNT/CONTAINER/KEY, a path."
        ),
    ],
    destination: Annotated[
        str,
        Argument(metavar="DST", help="The destination, in the same forms; a final / marks a prefix or folder."),
    ],
    ignore_ledger: Annotated[
        bool, Option("--ignore-ledger", help="Ignore the ledger of earlier runs, and check every object.")
    ] = False,
    again: Annotated[bool, Option("--again", hidden=True, callback=warn_renamed_flag)] = False,
    storage_class: Annotated[
        str,
        Option("--storage-class", metavar="NAME", help="The storage class of the copies; keep = that of the source."),
    ] = "",
    retry_for: Annotated[
        str,
        Option(
            "--retry-for",
            metavar="DURATION",
            help="How long to retry while a store is unavailable and nothing arrives, as in 30s.",
        ),
    ] = "5m",
    config: ConfigFile = None,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Copy one object, or all objects with a prefix, verified, between S3, Cloud Storage, Azure and folders.

    The guarantees are those of `run`: the bytes are verified at both ends, an older version never replaces a newer one, and
    an interrupted large object resumes. Objects of other origin at the destination are replaced, whatever their age. The
    workspace remembers the copies: a second run skips objects that have not changed and are still at the destination, by
    name and size. Exit code 0 means that every listed object has arrived, 3 that some have not.

    While a store is unavailable or throttles, the command retries, and standard error reports it. If requests fail and nothing
    has arrived for --retry-for, the command ends with exit code 4, and reports what failed and why. Permanent errors (a missing
    bucket, denied access, rejected credentials) end it at once.

    In a URL, special characters are percent-encoded (%3F for ?), and options follow the key:
    s3://BUCKET/KEY?endpoint=…&identity=static. A configured bucket is accessed with its configured settings. Paths, also
    after file://, are relative to the current folder.

    Symbolic links, FIFOs, sockets and devices in a folder are not objects: they are counted and skipped.

    JSON: `source`, `destination`, `complete`, `objects` (counts: `listed`, `copied`, `present` at the destination before,
    `gone` from the source meanwhile, `failed`, and `special`: links, FIFOs, sockets and devices), `bytes` (`listed`,
    `copied`), `retries`, `seconds`, `lossy` (metadata that the destination cannot store), and the first `failures`, each with
    `key`, `error`, `message` and `hint`.
    """
    reject_both_names("--again", again, ignore_ledger)
    patience = parse_span(retry_for)
    settings = resources.load_settings(config, workspace)
    try:
        origin = object_urls.locate_object(source, settings)
        target = object_urls.locate_object(destination, settings, folder=origin.folder)
    except InvalidKey as error:
        raise ConfigError(str(error)) from error
    _check_ends(origin, target)
    raise click.exceptions.Exit(
        asyncio.run(
            _copy(
                origin,
                target,
                _build_settings(origin, target, settings, storage_class, ignore_ledger or again),
                patience,
                json,
            )
        )
    )


def _check_ends(source: ObjectLocation, destination: ObjectLocation) -> None:
    if source.path is not None and not source.path.is_dir():
        raise NotFound("the file or folder does not exist", where=source.text, hint="correct the path")
    if source.identity == destination.identity and source.key == destination.key:
        raise ConfigError("source and destination are the same", where=source.text, hint="choose another destination")
    if destination.path is not None:
        if source.path is not None and source.folder and destination.path.is_relative_to(source.path):
            raise ConfigError(
                "the destination is inside the source", where=destination.text, hint="choose another destination"
            )
        destination.path.mkdir(parents=True, exist_ok=True)


def _build_settings(
    source: ObjectLocation, destination: ObjectLocation, given: Settings, storage_class: str, ignore_ledger: bool
) -> Settings:
    """Return settings with one route, a queue in memory, and a ledger for this pair of stores."""
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


def _build_ends(source: ObjectLocation, destination: ObjectLocation) -> Ends:
    from skyferry.discovery.listing import Ends

    return Ends(source.ref, destination.ref, one_store=source.identity == destination.identity)


async def _copy(
    source: ObjectLocation, destination: ObjectLocation, settings: Settings, patience: float, json: bool
) -> ExitCode:
    from skyferry.cli.render.copy_progress import CopyProgress, show_progress

    progress = CopyProgress()
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(
            _build_service(settings, _build_ends(source, destination), progress, patience)
        )
        interrupted = stack.enter_context(handle_signals((signal.SIGINT, signal.SIGTERM), partial(_drain, service)))
        await stack.enter_async_context(show_progress(progress, sys.stderr.isatty() and not json))
        for record in await stalls.run_service(service, progress.stalls, progress.found, patience):
            progress.on(record)
    if json:
        output.print_json(progress.to_document(source.text, destination.text))
    else:
        progress.print_summary()
    if interrupted:
        print("interrupted; run the same command again to continue", file=sys.stderr)
        return ExitCode.INTERRUPTED
    if progress.stalls.ended:
        return ExitCode.UNREACHABLE
    return ExitCode.OK if progress.complete else ExitCode.DEAD_LETTERS


def _build_service(
    settings: Settings, ends: Ends, progress: CopyProgress, patience: float
) -> AbstractAsyncContextManager[Service]:
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
            refuse=progress.count_rejected,
        )
        return [ListingSource(ends, ports, progress.found)]

    return build_service(stalls.limit_request_time(settings, patience), progress, find=find, ledger=kept)


def _drain(service: Service) -> None:
    text = "ending: transfers in flight are completed first; the same signal again ends at once"
    print(text, file=sys.stderr, flush=True)
    service.drain()
