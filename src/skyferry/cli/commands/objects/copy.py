"""`skyferry copy`: copy one object, or all objects with a prefix, from one store to another."""

from __future__ import annotations

from typing import Annotated

import click

from skyferry.cli.arguments.list_files import STDIN
from skyferry.cli.arguments.options import ConfigOptions, parse_processes, parse_span
from skyferry.cli.commands.objects.copying import prepare, request, streams
from skyferry.cli.commands.objects.copying.request import (
    CopyJob,
    CopyOptions,
    DeleteOptions,
    OutputOptions,
    SelectionOptions,
)
from skyferry.cli.parameters import Argument
from skyferry.errors import ConfigError


def copy(
    source: Annotated[
        str,
        Argument(
            metavar="SRC",
            help="An object, a prefix or a wildcard: s3://BUCKET/KEY, gs://…, az://ACCOUNT/CONTAINER/KEY, a path; - is "
            "standard input.",
        ),
    ],
    destination: Annotated[
        str,
        Argument(
            metavar="DST",
            help="The destination, in the same forms; a final / marks a prefix or folder; - is standard output.",
        ),
    ],
    more: Annotated[list[str] | None, Argument(hidden=True)],
    chosen: SelectionOptions,
    deletes: DeleteOptions,
    transfers: CopyOptions,
    shown: OutputOptions,
    configuration: ConfigOptions,
) -> None:
    """Copy one object, or all objects with a prefix, verified, between S3, Cloud Storage, Azure and folders.

    The guarantees are those of `run`: the bytes are verified at both ends, an older version never replaces a newer one, and
    an interrupted large object resumes. Objects of other origin at the destination are replaced, whatever their age. A ledger
    remembers the copies: a second run skips objects that have not changed and are still at the destination, by name and size.
    Exit code 0 means that every selected object has arrived, 3 that some have not.

    The ledger of each pair of stores is in $XDG_STATE_HOME/skyferry/copies, by default ~/.local/state/skyferry/copies, or in
    `copies` of an explicit workspace. It may be deleted: then the next run checks every object.

    In a URL, special characters are percent-encoded (%3F for ?), and options follow the key:
    s3://BUCKET/KEY?endpoint=…&identity=static. A configured bucket is accessed with its configured settings. Paths, also
    after file://, are relative to the current folder. * in a key is any text within a folder, ** any number of folders; the
    rest of the key after the last / before it is kept below DST. An object with this very key wins; %2A is only the character.

    Patterns match the end of a key from a slash on (`*.jpg`, `tmp/*.log`), or the whole key below SRC if they begin with /
    (`/logs/**`). `*` and `?` stay within a folder, `**` does not; `[a-z]` is a set, `{a,b}` a choice, a final / everything in
    the folder. Exclusions come first, then filters in their order, then inclusions; with an inclusion, all other keys are
    left out.

    --delete compares both sides after everything has arrived. It deletes nothing if the source is empty or an object has not
    arrived, nothing that the filters leave out, and nothing if --max-delete would be exceeded.

    `copy - DST` reads an object from standard input, up to 156 GiB at most stores; `copy SRC -` writes one to standard output,
    verified, and fails if its checksum is wrong.

    While a store is unavailable or throttles, the command retries, and standard error reports it. If requests fail and nothing
    has arrived for --retry-for, the command ends with exit code 4, and reports what failed and why. Permanent errors (a missing
    bucket, denied access, rejected credentials) end it at once.

    Symbolic links, FIFOs, sockets and devices in a folder are not objects: they are counted and skipped.

    JSON: `source`, `destination`, `dry_run`, `complete`, `objects` (counts: `listed`, `copied`, `present` at the destination
    before, `kept` there by --update or --ignore-existing, `excluded` by filters, `deleted`, `withheld` deletes, `gone` from the
    source meanwhile, `failed`, and `special`: links, FIFOs, sockets and devices), `bytes` (`listed`, `copied`, `deleted`),
    `retries`, `seconds`, `lossy` (metadata that the destination cannot store), and the first `failures`, each with `key`,
    `error`, `message` and `hint`.
    """
    if more:
        hint = "quote a wildcard, so that the shell does not expand it, as in 'logs/*.gz'; or use --files-from"
        raise ConfigError("copy takes one source and one destination", where=more[0], hint=hint)
    shown.check()
    transfers.check()
    patience, rate = parse_span(transfers.retry_for, "--retry-for"), request.parse_rate(transfers.bwlimit)
    max_deletes = deletes.parse_limit()
    grows = transfers.processes == request.AUTO
    settings = configuration.load()
    processes = 1 if grows else parse_processes(transfers.processes, transfers.limit(settings.limits))
    if STDIN in (source, destination):
        _reject_without_meaning(chosen, deletes, transfers, shown, processes)
        code = streams.copy_stream(source, destination, settings, rate, transfers.storage_class, shown)
        raise click.exceptions.Exit(code)
    if deletes.delete and chosen.files_from:
        request.reject_together(["--delete", "--files-from"])
    origin, target = prepare.locate_ends(source, destination, settings, several=bool(chosen.files_from))
    prepare.check_ends(origin, target, delete=deletes.delete)
    selection = chosen.build(origin.wildcard, prefix_only=deletes.delete)
    target = prepare.skip_flushes(target, wanted=transfers.no_fsync)
    with prepare.prepare_destination(target, dry_run=deletes.dry_run, keep=origin.path is not None) as target:
        ends = prepare.limit_rate(origin, rate), prepare.limit_rate(target, rate)
        used = prepare.build_settings(*ends, settings, transfers)
        job = CopyJob(
            origin,
            target,
            used,
            selection,
            max_deletes,
            deletes.dry_run,
            patience,
            shown,
            processes,
            grows and origin.several,
            prepare.identify_folders(used),
        )
        code = prepare.run_job(job, settings, ignore_ledger=transfers.ignore_ledger or transfers.again)
        raise click.exceptions.Exit(code)


def _reject_without_meaning(
    chosen: SelectionOptions, deletes: DeleteOptions, transfers: CopyOptions, shown: OutputOptions, processes: int
) -> None:
    """Raise ConfigError for options that have no meaning for standard input and output."""
    flags = {
        "--delete": deletes.delete,
        "--dry-run": deletes.dry_run,
        "--progress": shown.progress,
        "--processes": processes > 1,
        "--no-fsync": transfers.no_fsync,
    }
    request.reject_with_stream(chosen.given, flags)
