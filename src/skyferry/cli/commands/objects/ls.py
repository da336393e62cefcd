"""`skyferry ls`: what a bucket or folder holds."""

from __future__ import annotations

import asyncio
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated

import typer

from skyferry.cli import resources
from skyferry.cli.arguments import object_urls as places
from skyferry.cli.arguments.options import ConfigFile, Json, Limit
from skyferry.cli.render import output

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from skyferry.cli.arguments.object_urls import Named
    from skyferry.config.settings import Settings
    from skyferry.model import ObjectMeta


def ls(
    url: Annotated[str, typer.Argument(metavar="URL", help="s3://BUCKET/PREFIX, gs://…, az://…, or a path.")],
    limit: Limit = 1000,
    after: Annotated[str, typer.Option("--after", metavar="KEY", help="Only keys that sort after this one.")] = "",
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """List the objects whose key begins so, in the order of their keys.

    JSON: `objects`, each with `key`, `size`, `version` and `modified`; and `after`, which asks for the next ones, "" at the end.
    """
    settings = resources.load_settings(config, None)
    wanted = places.named(url, settings)
    found = asyncio.run(_list(wanted, settings, limit, after))
    more = found[limit - 1].key if len(found) > limit else ""
    if json:
        output.emit({"objects": [_shown(meta) for meta in found[:limit]], "after": more})
        return
    rows = [(output.size(meta.size), output.when(meta.modified), meta.key) for meta in found[:limit]]
    output.table(("size", "modified", "key"), rows)
    if more:
        output.lines(f"there are more: --after {more!r}")


async def _list(wanted: Named, settings: Settings, limit: int, after: str) -> list[ObjectMeta]:
    """One more than `limit`, if there is: the first ones in the order of the bytes."""
    from skyferry.model import UNPLAIN
    from skyferry.wiring import Opener

    opener = Opener(places.only(wanted, settings))
    store = places.guarded(wanted, opener)
    found: list[ObjectMeta] = []
    try:
        async for meta in store.list(wanted.key, after):
            found.append(meta)
            if len(found) > limit:
                break
        order = store.traits.order
        if order == "none" or (order == "plain" and any(UNPLAIN.search(meta.key) for meta in found)):
            found = await _smallest(store.list(wanted.key, after), limit + 1)
    finally:
        await store.close()
        await opener.close()
    return found


async def _smallest(listing: AsyncIterator[ObjectMeta], count: int) -> list[ObjectMeta]:
    """The first ones by key, of a listing in any order, which is read to its end."""
    found: list[ObjectMeta] = []
    async for meta in listing:
        found.append(meta)
        if len(found) >= 2 * count:
            found = sorted(found, key=attrgetter("key"))[:count]
    return sorted(found, key=attrgetter("key"))[:count]


def _shown(meta: ObjectMeta) -> dict[str, object]:
    modified = output.timestamp(meta.modified)
    return {"key": meta.key, "size": meta.size, "version": meta.version, "modified": modified}
