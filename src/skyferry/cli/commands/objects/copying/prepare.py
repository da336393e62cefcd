"""The ends, the settings and the ledger of one copy."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from skyferry.cli.arguments import object_urls
from skyferry.cli.commands.objects.copying.request import NOTHING, CopyOptions, parse_markers, parse_unfit
from skyferry.cli.exit_codes import ExitCode
from skyferry.errors import ConfigError, InvalidKey, LedgerError, NotFound

if TYPE_CHECKING:
    from skyferry.cli.arguments.object_urls import ObjectLocation
    from skyferry.cli.commands.objects.copying.request import CopyJob
    from skyferry.config.settings import Settings
    from skyferry.processes.spares import SpareProcesses
    from skyferry.stores.local.blocking.bucket import FolderIdentity
    from skyferry.wiring.copy_ledgers import CopyLedger

ROUTE = "copy"
FEW = 1000  # files and folders: with fewer, a copy ends before other processes could help


def locate_ends(
    source: str, destination: str, settings: Settings, *, several: bool = False
) -> tuple[ObjectLocation, ObjectLocation]:
    """Return both ends. `several`: the source is a prefix, even without a / at its end. Raises ConfigError, NotFound."""
    try:
        origin = object_urls.locate_object(source, settings, folder=several)
        if several and not origin.several:
            origin = replace(origin, key=f"{origin.key}/")
        return origin, object_urls.locate_object(destination, settings, folder=origin.several)
    except InvalidKey as error:
        raise ConfigError(str(error)) from error


def check_ends(source: ObjectLocation, destination: ObjectLocation, *, delete: bool) -> None:
    """Check that one can be copied to the other. Raises ConfigError, NotFound."""
    if source.path is not None and not _exists(source, source.path):
        raise NotFound("the file or folder does not exist", where=source.text, hint="correct the path")
    if destination.wildcard is not None:
        hint = "write %2A for the character * in a URL"
        raise ConfigError("the destination has a wildcard", where=destination.text, hint=hint)
    if _copies_onto_itself(source, destination):
        raise ConfigError("source and destination are the same", where=source.text, hint="choose another destination")
    if delete and source.path is not None and not source.several:
        raise ConfigError("the source is a single file", where=source.text, hint="remove --delete, or name a folder")
    if source.path is not None and destination.path is not None:
        here, there = source.path.resolve(), destination.path.resolve()
        if source.several and there.is_relative_to(here):
            raise ConfigError(
                "the destination is inside the source", where=destination.text, hint="choose another destination"
            )
        if delete and here.is_relative_to(there):
            raise _mirror_error(source)
    if delete and source.identity == destination.identity:
        prefix = source.wildcard.prefix if source.wildcard else source.key
        if not destination.key or f"{prefix.rstrip('/')}/".startswith(f"{destination.key.rstrip('/')}/"):
            raise _mirror_error(source)


def _copies_onto_itself(source: ObjectLocation, destination: ObjectLocation) -> bool:
    """Return True if each object would replace itself, also where a folder is named by a link."""
    if source.path is not None and destination.path is not None:
        same = source.path.resolve() == destination.path.resolve()
    else:
        same = source.identity == destination.identity
    if source.wildcard is not None:
        return same and source.wildcard.prefix == destination.key
    name = "" if source.several or not destination.folder else source.key.rpartition("/")[2]
    return same and source.key == destination.key + name


def _exists(location: ObjectLocation, folder: Path) -> bool:
    """Return True if the folder of a local store exists, and the file that is named."""
    from skyferry.stores.local.names import path_of

    return folder.is_dir() and (location.several or os.path.lexists(folder / path_of(location.key)))


def _mirror_error(source: ObjectLocation) -> ConfigError:
    hint = "choose another destination, or remove --delete"
    return ConfigError("the source is inside the destination: --delete would delete it", where=source.text, hint=hint)


@contextmanager
def prepare_destination(destination: ObjectLocation, *, dry_run: bool, keep: bool = False) -> Iterator[ObjectLocation]:
    """Create a folder, or replace it in a dry run if it does not exist. Raises ConfigError.

    At the end, remove what was created and has stayed empty, unless `keep` is set.
    """
    path = None if dry_run or keep else destination.path
    made = [folder for folder in (path, *path.parents) if not os.path.lexists(folder)] if path else []
    try:
        yield _make_folder(destination, dry_run=dry_run)
    finally:
        with suppress(OSError):  # one that has something in it ends it
            for folder in made:
                folder.rmdir()


def _make_folder(destination: ObjectLocation, *, dry_run: bool) -> ObjectLocation:
    if destination.path is None:
        return destination
    if dry_run:
        missing = not destination.path.is_dir()
        return replace(destination, store=object_urls.build_store(url=NOTHING), path=None) if missing else destination
    try:
        destination.path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        message, hint = "a file is where a folder is needed", "name another folder, or remove the file"
        raise ConfigError(message, where=str(destination.path), hint=hint) from error
    except OSError as error:
        message = f"the folder cannot be created: {error.strerror}"
        raise ConfigError(message, where=str(destination.path), hint="correct the path, or its permissions") from error
    if not os.access(destination.path, os.W_OK | os.X_OK):
        hint = "choose another folder, or change its permissions"
        raise ConfigError("the folder is not writable", where=str(destination.path), hint=hint)
    return destination


def identify_folders(settings: Settings) -> dict[str, FolderIdentity]:
    """Return the identities of the ends that are folders, by store."""
    from skyferry.config.urls import resolve_store
    from skyferry.stores.local.blocking.bucket import identify

    found = {}
    for name, store in settings.stores.items():
        url = resolve_store(store).url
        if url.known.path:
            with suppress(FileNotFoundError):  # which the listing reports
                found[name] = identify(url.path(settings.workspace).stat())
    return found


def limit_rate(location: ObjectLocation, rate: int) -> ObjectLocation:
    """Limit the bytes per second of a store, unless its configuration limits them more."""
    own = location.store.bytes_per_second
    if not rate or (own and own <= rate):
        return location
    return replace(location, store=location.store.model_copy(update={"bytes_per_second": rate}))


def skip_flushes(location: ObjectLocation, *, wanted: bool) -> ObjectLocation:
    """Let copies in a folder count as done before they are on the disk, if `wanted`. Raises ConfigError."""
    if not wanted:
        return location
    if location.path is None:
        hint = "remove --no-fsync"
        raise ConfigError(
            "--no-fsync is for folders: other stores decide it themselves", where=location.text, hint=hint
        )
    return replace(location, store=location.store.model_copy(update={"fsync": False}))


def build_settings(
    source: ObjectLocation, destination: ObjectLocation, given: Settings, options: CopyOptions
) -> Settings:
    """Return settings with one route and a queue in memory."""
    from skyferry.config.settings import Settings

    route = {
        "name": ROUTE,
        "from": "source",
        "to": "destination",
        "allow_loopback": True,
        "directed": True,
        "storage_class": options.storage_class,
        "guess_content_type": not options.no_guess_content_type,
        "folder_markers": parse_markers(options.folder_markers),
        "unfit": parse_unfit(options.unfit),
    }
    url = "memory://copy"
    made = Settings.model_validate({"routes": [route], "queues": [{"name": ROUTE, "url": url}], "ledger": {"url": url}})
    stores = {"source": source.store, "destination": destination.store}
    return given.model_copy(
        update={
            "stores": {name: store.model_copy(update={"shared_limits": False}) for name, store in stores.items()},
            "routes": made.routes,
            "queues": made.queues,
            "dead_letters": None,
            "ledger": made.ledger,
            "limits": options.limit(given.limits),
        }
    )


@contextmanager
def open_copy_ledger(job: CopyJob, given: Settings) -> Iterator[CopyLedger | None]:
    """Open the ledger of this pair of stores, or a copy of it in a dry run; None if there is none, or it cannot be written."""
    from skyferry.wiring import copy_ledgers

    folder = copy_ledgers.find_folder(given, os.environ)
    file = copy_ledgers.choose_file(folder, job.source.identity, job.destination.identity)
    if job.dry_run:
        from tempfile import TemporaryDirectory

        with TemporaryDirectory(prefix="skyferry-") as scratch:
            yield copy_ledgers.open_snapshot(file, Path(scratch))
        return
    try:
        ledger: CopyLedger | None = copy_ledgers.open_ledger(file)
    except LedgerError as error:
        if os.path.exists(file):  # False, too, where this user may not look
            raise
        print(f"warning: this copy is not remembered: {error}", file=sys.stderr)
        ledger = None
    yield ledger


def run_job(job: CopyJob, given: Settings, *, ignore_ledger: bool) -> ExitCode:
    """Run a copy, and remove what it needed at the destination."""
    from skyferry.cli.commands.objects.copying.run import run_copy
    from skyferry.cli.event_loop import run_async
    from skyferry.stores.local.blocking.removal import remove_private_folder

    try:
        with object_urls.name_as_typed({"source": job.source, "destination": job.destination}), ExitStack() as stack:
            spares = stack.enter_context(_fork_spares(job, grows=job.grows and not ignore_ledger))
            ledger = None if ignore_ledger else stack.enter_context(open_copy_ledger(job, given))
            if job.processes == 1 or job.dry_run:  # a dry run copies nothing
                return run_async(run_copy(job, ledger, spares=spares))
            return _run_shared_job(job, ledger, spares)
    finally:
        if job.destination.path is not None and not job.dry_run:
            remove_private_folder(job.destination.path)


def _fork_spares(job: CopyJob, *, grows: bool) -> AbstractContextManager[SpareProcesses | None]:
    """Fork the processes that this copy has, or may grow into. They have the modules that it needs itself."""
    if job.dry_run or not (job.processes > 1 or (grows and not is_small(job.source))):
        return nullcontext()
    from skyferry.cli.commands.service.worker_process import main
    from skyferry.processes.counts import find_most
    from skyferry.processes.spares import fork_spares
    from skyferry.wiring import copy_ledgers, service  # noqa: F401 - the forked processes share what is imported here

    count = find_most(job.settings.limits) if grows else job.processes
    return fork_spares(count if count > 1 else 0, main)


def is_small(source: ObjectLocation) -> bool:
    """Return True if a folder has few entries. It counts no more than that, and other stores are not listed."""
    waiting, seen = [source.path] if source.path else [], 0
    while waiting:
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if (seen := seen + 1) >= FEW:
                    return False
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
    return source.path is not None


def _run_shared_job(job: CopyJob, ledger: CopyLedger | None, spares: SpareProcesses | None) -> ExitCode:
    from skyferry.cli.commands.objects.copying.processes import share_copy
    from skyferry.cli.commands.objects.copying.run import run_copy
    from skyferry.cli.event_loop import run_async
    from skyferry.wiring import copy_ledgers

    with share_copy(job, ledger.path if ledger else None, spares) as shared:
        return run_async(run_copy(shared.job, ledger or copy_ledgers.open_ledger(shared.ledger), shared))
