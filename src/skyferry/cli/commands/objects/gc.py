"""`skyferry gc`: abort abandoned uploads."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Annotated

from skyferry.cli import resources
from skyferry.cli.arguments import object_urls
from skyferry.cli.arguments.options import ConfigFile, Json, Workspace, parse_span
from skyferry.cli.parameters import Argument, Option
from skyferry.cli.render import output

if TYPE_CHECKING:
    from skyferry.cli.arguments.object_urls import ObjectLocation
    from skyferry.config.settings import Settings
    from skyferry.engine.abandoned_uploads import AbandonedUpload
    from skyferry.ports import ObjectStore


def gc(
    url: Annotated[
        str,
        Argument(
            metavar="[URL]", help="Instead, a bucket that `skyferry copy` has written to: s3://BUCKET, gs://…, az://…."
        ),
    ] = "",
    older_than: Annotated[
        str,
        Option(
            "--older-than",
            metavar="DURATION",
            help="Only uploads idle for longer; must exceed the time of a part and a retry.",
        ),
    ] = "1d",
    dry_run: Annotated[bool, Option("--dry-run", help="Only list the uploads.")] = False,
    config: ConfigFile = None,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Abort abandoned multipart uploads at the destinations of all routes. Their parts are billed until aborted. Uploads that
    the ledger remembers are also aborted at the other stores of the configuration; a service aborts them after a day.

    An upload belongs to Skyferry if the ledger remembers it, if the store marks it so, or if it began at the key of a transfer
    while that was in progress. A service may be running.

    With a URL: abort the uploads that `skyferry copy` has abandoned in that bucket, as its ledgers remember them.

    JSON: `aborted` (false with --dry-run) and `uploads`, each with `store`, `key`, `id`, `started_at` (null if unknown) and
    `remembered` (by the ledger; false if found only at the store).
    """
    settings = resources.load_settings(config, workspace)
    age = parse_span(older_than, "--older-than")
    wanted = object_urls.locate_object(url, settings, folder=True) if url else None
    found = asyncio.run(
        _abort_copies(wanted, settings, age, dry_run) if wanted else _abort_uploads(settings, age, dry_run)
    )
    if json:
        output.print_json({"aborted": not dry_run, "uploads": [_format_upload(each) for each in found]})
        return
    if found:
        output.print_table(("store", "started", "known by", "key"), map(_format_row, found))
    output.print_lines(f"{output.format_count(len(found), 'upload')} {'found' if dry_run else 'aborted'}")


async def _abort_uploads(settings: Settings, older_than: float, dry_run: bool) -> list[AbandonedUpload]:
    from skyferry.engine.abandoned_uploads import abort_abandoned_uploads
    from skyferry.wiring import Opener, protect_opened

    opener = Opener(settings)
    stores: dict[str, ObjectStore] = {}
    destinations = {route.destination for route in settings.routes}
    try:
        async with resources.open_ledger(settings) as ledger:
            known = {progress.store async for progress in ledger.list_uploads()}
            if gone := sorted(known - settings.stores.keys()):
                notice = (
                    f"the ledger remembers uploads to {', '.join(gone)}, which the configuration no longer has: "
                    "add the store again to abort them"
                )
                print(f"warning: {notice}", file=sys.stderr)
            for name in sorted(destinations | (known & settings.stores.keys())):
                stores[name] = protect_opened(opener, opener.store(name))
            return await abort_abandoned_uploads(
                ledger, stores, older_than, opener.clock, only_remembered=known - destinations, dry_run=dry_run
            )
    finally:
        for store in stores.values():
            await store.close()
        await opener.close()


async def _abort_copies(
    wanted: ObjectLocation, settings: Settings, older_than: float, dry_run: bool
) -> list[AbandonedUpload]:
    """Abort the uploads in the ledgers of all pairs of stores: a ledger does not record where its stores are."""
    from skyferry.engine.abandoned_uploads import abort_listed_uploads
    from skyferry.wiring import copy_ledgers

    found: list[AbandonedUpload] = []
    async with object_urls.open_protected(wanted, settings) as store:
        for ledger_settings in copy_ledgers.find_ledgers(copy_ledgers.find_folder(settings, os.environ)):
            kept = settings.model_copy(update={"ledger": ledger_settings})
            async with resources.open_ledger(kept) as ledger:
                found += await abort_listed_uploads(ledger, "destination", store, older_than, dry_run=dry_run)
    return found


def _format_upload(abandoned: AbandonedUpload) -> dict[str, object]:
    upload = abandoned.upload
    return {
        "store": abandoned.store,
        "key": upload.key,
        "id": upload.id,
        "started_at": output.format_timestamp(upload.started_at) if upload.started_at else None,
        "remembered": abandoned.remembered,
    }


def _format_row(abandoned: AbandonedUpload) -> tuple[str, ...]:
    started = output.format_time(abandoned.upload.started_at or None)
    return abandoned.store, started, "ledger" if abandoned.remembered else "store", abandoned.upload.key
