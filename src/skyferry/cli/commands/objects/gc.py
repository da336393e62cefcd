"""`skyferry gc`: uploads that were left behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from skyferry.cli import resources
from skyferry.cli.arguments import object_urls as places
from skyferry.cli.arguments.options import ConfigFile, Json, Workspace
from skyferry.cli.render import output

if TYPE_CHECKING:
    from skyferry.cli.arguments.object_urls import Named
    from skyferry.config.settings import Settings
    from skyferry.engine.abandoned_uploads import AbandonedUpload


def gc(
    url: Annotated[
        str,
        typer.Argument(
            metavar="[URL]", help="A bucket that `skyferry copy` has written to, instead: s3://BUCKET, gs://…, az://…."
        ),
    ] = "",
    older_than: Annotated[
        str,
        typer.Option(
            "--older-than", metavar="DURATION", help="Untouched for so long; more than a part or a retry takes."
        ),
    ] = "1d",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which.")] = False,
    config: ConfigFile = None,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Abort uploads of ours that nobody goes on with, at the destinations of all routes; their parts cost money until then.

    Ours are those that the ledger remembers, that a store can tell to be ours, or that began on the key of a transfer while we
    had that in hand. A service may run meanwhile.

    With a URL: those that runs of `skyferry copy` from this workspace have left in that bucket.

    JSON: `aborted` (false with --dry-run) and `uploads`, each with `store`, `key`, `id`, `started_at` (null if unknown) and
    `remembered` (by the ledger; else found at the store alone).
    """
    settings = resources.load_settings(config, workspace)
    age = _seconds(older_than)
    wanted = places.named(url, settings, folder=True) if url else None
    found = asyncio.run(_of_copies(wanted, settings, age, dry_run) if wanted else _collect(settings, age, dry_run))
    if json:
        output.emit({"aborted": not dry_run, "uploads": [_shown(each) for each in found]})
        return
    if found:
        rows = [
            (o.store, output.when(o.upload.started_at or None), "ledger" if o.remembered else "store", o.upload.key)
            for o in found
        ]
        output.table(("store", "started", "known by", "key"), rows)
    output.lines(f"{output.count(len(found), 'upload')} {'found' if dry_run else 'aborted'}")


def _seconds(text: str) -> float:
    from skyferry.config.units import parse_duration

    try:
        return float(str(parse_duration(text)))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


async def _collect(settings: Settings, older_than: float, dry_run: bool) -> list[AbandonedUpload]:
    from skyferry.engine.abandoned_uploads import abort_abandoned_uploads
    from skyferry.wiring import Opener, protect_opened

    opener, names = Opener(settings), sorted({route.destination for route in settings.routes})
    stores = {name: protect_opened(opener, opener.store(name)) for name in names}
    try:
        async with resources.opened_ledger(settings) as ledger:
            return await abort_abandoned_uploads(ledger, stores, older_than, opener.clock, dry_run=dry_run)
    finally:
        for store in stores.values():
            await store.close()
        await opener.close()


async def _of_copies(wanted: Named, settings: Settings, older_than: float, dry_run: bool) -> list[AbandonedUpload]:
    """By the ledgers of the pairs of stores that were copied between; none of them tells where its stores are."""
    from skyferry.engine.abandoned_uploads import abort_listed_uploads
    from skyferry.wiring import Opener, copy_ledgers

    opener = Opener(places.only(wanted, settings))
    store = places.guarded(wanted, opener)
    found: list[AbandonedUpload] = []
    try:
        for ledger_settings in copy_ledgers.find_ledgers(settings):
            kept = settings.model_copy(update={"ledger": ledger_settings})
            async with resources.opened_ledger(kept) as ledger:
                found += await abort_listed_uploads(
                    ledger, "destination", store, older_than, opener.clock, dry_run=dry_run
                )
    finally:
        await store.close()
        await opener.close()
    return found


def _shown(abandoned: AbandonedUpload) -> dict[str, object]:
    upload = abandoned.upload
    return {
        "store": abandoned.store,
        "key": upload.key,
        "id": upload.id,
        "started_at": output.timestamp(upload.started_at) if upload.started_at else None,
        "remembered": abandoned.remembered,
    }
