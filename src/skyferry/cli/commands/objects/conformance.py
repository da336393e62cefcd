"""`skyferry conformance`: what a provider's bucket can and cannot do, found out by doing it."""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skyferry.cli import resources
from skyferry.cli.arguments import object_urls as places
from skyferry.cli.arguments.options import ConfigFile, Json
from skyferry.cli.exit_codes import ExitCode
from skyferry.cli.render import output

if TYPE_CHECKING:
    from skyferry.cli.arguments.object_urls import Named
    from skyferry.config.settings import Settings, StoreSettings
    from skyferry.model import Attributes, Traits
    from skyferry.ports import ObjectStore
    from skyferry.testing.store_cases import Result


def conformance(
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL", help="A bucket of yours, or a prefix: s3://BUCKET/PREFIX/, gs://…, az://…, a folder."
        ),
    ],
    objects: Annotated[
        int,
        typer.Option(
            "--objects", metavar="N", min=2, help="How many the longest listing has; a page has 1000 or more."
        ),
    ] = 1005,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Run the suite that every store of Skyferry passes against a bucket of yours, and say what it can and cannot do.

    All of it happens under a prefix of its own, which is removed in the end. It costs a few thousand requests.

    JSON: `url`, `prefix`, `traits` (what Skyferry believes of this provider), and `results`, each with `name`, `claim`, `outcome`
    (passed, failed, skipped), `detail` and `seconds`. Exit code 1 says that a sentence is not true there.
    """
    settings = resources.load_settings(config, None)
    wanted = places.named(url, settings, folder=True)
    scratch = f"{wanted.key}{'' if wanted.folder else '/'}skyferry-conformance-{secrets.token_hex(4)}/"
    told: Callable[[Result], None] = (lambda result: None) if json else _tell
    traits, results = asyncio.run(_run(wanted, settings, scratch, objects, told))
    failed = sum(result.outcome == "failed" for result in results)
    if json:
        shown = [asdict(result) for result in results]
        output.emit({"url": url.partition("?")[0], "prefix": scratch, "traits": _plain(traits), "results": shown})
    else:
        passed = sum(result.outcome == "passed" for result in results)
        output.lines("", *(f"{name:<20} {_words(value)}" for name, value in _plain(traits).items()))
        output.lines("", f"{passed} true, {failed} not, {len(results) - passed - failed} do not apply")
    if failed:
        raise typer.Exit(ExitCode.FAILED)


async def _run(
    wanted: Named, settings: Settings, scratch: str, objects: int, told: Callable[[Result], None]
) -> tuple[Traits, list[Result]]:
    from skyferry.testing.store_cases import Place, run
    from skyferry.testing.store_cases.keys import AWKWARD, awkward
    from skyferry.wiring import Opener

    stores = {"store": wanted.store, "other": wanted.store}
    if (absent := _absent(wanted.store)) is not None:
        stores["nowhere"] = absent
    opener = Opener(settings.model_copy(update={"stores": stores, "routes": ()}))
    store = places.opened(wanted, opener)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, signal.raise_signal, signal.SIGINT)  # so it cleans up
    results: list[Result] = []
    nowhere = opener.store("nowhere") if absent else None
    opened = [store, *([nowhere] if nowhere else [])]
    refused: dict[str, str] = {}

    async def place(case: str) -> Place:
        prefix = f"{scratch}{case.removeprefix('test_')[:24]}/"
        opened.append(other := opener.store("other"))  # a case may close it
        keys = refused | await _refused(
            store, prefix, awkward(Place(store, prefix))[-2:]
        )  # as long as they can be here
        return Place(store, prefix, other, nowhere, _carried(store), cannot_hold=keys, page=objects)

    try:
        refused |= await _refused(store, scratch, AWKWARD)
        async for result in run(place):
            results.append(result)
            told(result)
    finally:
        for each in opened:  # first, as a write that was cancelled may be under way in a thread
            await each.close()
        cleaner = places.opened(wanted, opener)
        try:
            await _clean(cleaner, scratch)
        finally:
            await cleaner.close()
            await opener.close()
    return store.traits, results


async def _refused(store: ObjectStore, scratch: str, keys: Sequence[str]) -> dict[str, str]:
    """Those that it refuses, and why: which is allowed, as long as it does so before any effect."""
    from skyferry.errors import InvalidKey, StoreError

    refused = {}
    for key in keys:
        try:
            await store.head(scratch + key)
        except InvalidKey as error:
            refused[key] = error.message
        except StoreError:  # the cases tell
            continue
    return refused


async def _clean(store: ObjectStore, scratch: str) -> None:
    """Remove what the cases have left, and close the store."""
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
    await store.close()


def _absent(store: StoreSettings) -> StoreSettings | None:
    """A bucket that does not exist beside this one, at a cloud."""
    from skyferry.config.urls import StoreUrl

    if not StoreUrl.parse(store.url).at_a_cloud:
        return None
    name, mark, query = store.url.partition("?")
    return store.model_copy(update={"url": f"{name.rstrip('/')}-{secrets.token_hex(6)}{mark}{query}"})


def _carried(store: ObjectStore) -> Attributes:
    from skyferry.testing.store_cases.place import EVERYTHING

    return replace(EVERYTHING, tags={}) if any("tags" in lost for lost in store.traits.lossy) else EVERYTHING


def _plain(traits: Traits) -> dict[str, Any]:
    return {k: sorted(v) if isinstance(v, frozenset) else v for k, v in asdict(traits).items()}


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (", ".join(value) or "none") if isinstance(value, list | tuple) else str(value)


def _tell(result: Result) -> None:
    mark = {"passed": "✓", "failed": "✗", "skipped": "–"}[result.outcome]
    detail = f"\n    {result.detail}" if result.detail else ""
    output.lines(f"{mark} {result.subject}\n    {result.claim}{detail}")
