"""`skyferry conformance`: test the capabilities of a provider on a real bucket."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import click

from skyferry.cli import resources
from skyferry.cli.arguments import object_urls
from skyferry.cli.arguments.options import ConfigFile, Json
from skyferry.cli.exit_codes import ExitCode
from skyferry.cli.parameters import Argument, Option
from skyferry.cli.render import output
from skyferry.cli.signals import treat_sigterm_as_interrupt

if TYPE_CHECKING:
    from skyferry.cli.arguments.object_urls import ObjectLocation
    from skyferry.config.settings import Settings, StoreSettings
    from skyferry.model import Attributes, Traits
    from skyferry.ports import ObjectStore
    from skyferry.testing.store_cases import Result


def conformance(
    url: Annotated[
        str,
        Argument(metavar="URL", help="A bucket or a prefix of yours: s3://BUCKET/PREFIX/, gs://…, az://…, a folder."),
    ],
    objects: Annotated[
        int,
        Option(
            "--objects", metavar="N", min=2, help="The size of the longest listing; a page has 1000 objects or more."
        ),
    ] = 1005,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Run the conformance suite of stores against a bucket of yours, and report which claims are true there.

    The suite works under a new prefix, and deletes it at the end. It sends a few thousand requests.

    JSON: `url`, `prefix`, `traits` (the assumptions of Skyferry about this provider), and `results`, each with `name`, `claim`,
    `outcome` (passed, failed, skipped), `detail` and `seconds`. Exit code 1 means that a claim is false there.
    """
    settings = resources.load_settings(config, None)
    wanted = object_urls.locate_object(url, settings, folder=True)
    scratch = f"{wanted.key}{'' if wanted.folder else '/'}skyferry-conformance-{secrets.token_hex(4)}/"
    report: Callable[[Result], None] = (lambda result: None) if json else _print_result
    traits, results = asyncio.run(_run(wanted, settings, scratch, objects, report))
    failed = sum(result.outcome == "failed" for result in results)
    if json:
        shown = [asdict(result) for result in results]
        output.print_json(
            {"url": url.partition("?")[0], "prefix": scratch, "traits": _format_traits(traits), "results": shown}
        )
    else:
        passed = sum(result.outcome == "passed" for result in results)
        output.print_lines(
            "", *(f"{name:<20} {_format_value(value)}" for name, value in _format_traits(traits).items())
        )
        output.print_lines("", f"{passed} true, {failed} false, {len(results) - passed - failed} not applicable")
    if failed:
        raise click.exceptions.Exit(ExitCode.FAILED)


async def _run(
    wanted: ObjectLocation, settings: Settings, scratch: str, objects: int, report: Callable[[Result], None]
) -> tuple[Traits, list[Result]]:
    from skyferry.testing.store_cases import Place, run_cases
    from skyferry.testing.store_cases.keys import AWKWARD, list_awkward_keys
    from skyferry.wiring import Opener

    stores = {"store": wanted.store, "other": wanted.store}
    if (absent := _name_missing_bucket(wanted.store)) is not None:
        stores["nowhere"] = absent
    opener = Opener(settings.model_copy(update={"stores": stores, "routes": ()}))
    store = object_urls.open_location(wanted, opener)
    treat_sigterm_as_interrupt()
    results: list[Result] = []
    nowhere = opener.store("nowhere") if absent else None
    opened = [store, *([nowhere] if nowhere else [])]
    rejected: dict[str, str] = {}

    async def place(case: str) -> Place:
        prefix = f"{scratch}{case.removeprefix('test_')[:24]}/"
        opened.append(other := opener.store("other"))  # a case may close this one
        keys = rejected | await _find_rejected_keys(
            store, prefix, list_awkward_keys(Place(store, prefix))[-2:]
        )  # the longest possible keys
        return Place(store, prefix, other, nowhere, _choose_attributes(store), cannot_hold=keys, page=objects)

    try:
        rejected |= await _find_rejected_keys(store, scratch, AWKWARD)
        async for result in run_cases(place):
            results.append(result)
            report(result)
    finally:
        for each in opened:  # before the deletion: a cancelled write may still run in a thread
            await each.close()
        cleaner = object_urls.open_location(wanted, opener)
        try:
            await _clean(cleaner, scratch)
        finally:
            await cleaner.close()
            await opener.close()
    return store.traits, results


async def _find_rejected_keys(store: ObjectStore, scratch: str, keys: Sequence[str]) -> dict[str, str]:
    """Return the keys that the store rejects, with the reasons. It may reject keys, but only before any effect."""
    from skyferry.errors import InvalidKey, StoreError

    rejected = {}
    for key in keys:
        try:
            await store.head(scratch + key)
        except InvalidKey as error:
            rejected[key] = error.message
        except StoreError:  # reported by the cases
            continue
    return rejected


async def _clean(store: ObjectStore, scratch: str) -> None:
    """Delete everything that the cases have written."""
    if store.traits.listed_uploads:
        for upload in [upload async for upload in store.uploads(scratch)]:
            await store.abort_upload(upload)
    keys = [meta.key async for meta in store.list(scratch)]
    limit = asyncio.Semaphore(32)

    async def delete(key: str) -> None:
        async with limit:
            await store.delete(key)

    async with asyncio.TaskGroup() as tasks:
        for key in keys:
            tasks.create_task(delete(key))


def _name_missing_bucket(store: StoreSettings) -> StoreSettings | None:
    """Return a bucket of the same cloud that does not exist; None for a folder."""
    from skyferry.config.urls import StoreUrl

    if not StoreUrl.parse(store.url).at_a_cloud:
        return None
    name, mark, query = store.url.partition("?")
    return store.model_copy(update={"url": f"{name.rstrip('/')}-{secrets.token_hex(6)}{mark}{query}"})


def _choose_attributes(store: ObjectStore) -> Attributes:
    from skyferry.testing.store_cases.place import EVERYTHING

    return replace(EVERYTHING, tags={}) if any("tags" in lost for lost in store.traits.lossy) else EVERYTHING


def _format_traits(traits: Traits) -> dict[str, Any]:
    return {k: sorted(v) if isinstance(v, frozenset) else v for k, v in asdict(traits).items()}


def _format_value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (", ".join(value) or "none") if isinstance(value, list | tuple) else str(value)


def _print_result(result: Result) -> None:
    mark = {"passed": "✓", "failed": "✗", "skipped": "–"}[result.outcome]
    detail = f"\n    {result.detail}" if result.detail else ""
    output.print_lines(f"{mark} {result.subject}\n    {result.claim}{detail}")
