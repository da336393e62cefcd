"""`skyferry ls`: list the objects of a bucket or folder."""

from __future__ import annotations

import asyncio
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated

from skyferry.cli import resources
from skyferry.cli.arguments import object_urls
from skyferry.cli.arguments.options import ConfigFile, Json, Limit
from skyferry.cli.parameters import Argument, Option
from skyferry.cli.render import output

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from skyferry.cli.arguments.object_urls import ObjectLocation
    from skyferry.config.settings import Settings
    from skyferry.model import ObjectMeta


def ls(
    url: Annotated[str, Argument(metavar="URL", help="s3://BUCKET/PREFIX, gs://…, az://…, or a path.")],
    limit: Limit = 1000,
    after: Annotated[str, Option("--after", metavar="KEY", help="Only keys after this one.")] = "",
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """List objects by key prefix, in the order of their keys.

    JSON: `objects`, each with `key`, `size`, `version` and `modified`; and `after`, the option for the next page, "" at the end.
    """
    settings = resources.load_settings(config, None)
    wanted = object_urls.locate_object(url, settings)
    found = asyncio.run(_list_objects(wanted, settings, limit, after))
    more = found[limit - 1].key if len(found) > limit else ""
    if json:
        output.print_json({"objects": [_format_object(meta) for meta in found[:limit]], "after": more})
        return
    rows = [(output.format_size(meta.size), output.format_time(meta.modified), meta.key) for meta in found[:limit]]
    output.print_table(("size", "modified", "key"), rows)
    if more:
        output.print_lines(f"next page: --after {more!r}")


async def _list_objects(wanted: ObjectLocation, settings: Settings, limit: int, after: str) -> list[ObjectMeta]:
    """Return the first `limit` objects, and one more if there are more, in the order of the bytes of their keys."""
    from skyferry.model import UNPLAIN
    from skyferry.wiring import Opener

    opener = Opener(object_urls.restrict_settings(wanted, settings))
    store = object_urls.open_protected(wanted, opener)
    found: list[ObjectMeta] = []
    try:
        async for meta in store.list(wanted.key, after):
            found.append(meta)
            if len(found) > limit:
                break
        order = store.traits.order
        if order == "none" or (order == "plain" and any(UNPLAIN.search(meta.key) for meta in found)):
            found = await _find_first(store.list(wanted.key, after), limit + 1)
    finally:
        await store.close()
        await opener.close()
    return found


async def _find_first(listing: AsyncIterator[ObjectMeta], count: int) -> list[ObjectMeta]:
    """Return the first `count` objects by key. Reads the whole listing, whatever its order."""
    found: list[ObjectMeta] = []
    async for meta in listing:
        found.append(meta)
        if len(found) >= 2 * count:
            found = sorted(found, key=attrgetter("key"))[:count]
    return sorted(found, key=attrgetter("key"))[:count]


def _format_object(meta: ObjectMeta) -> dict[str, object]:
    modified = output.format_timestamp(meta.modified)
    return {"key": meta.key, "size": meta.size, "version": meta.version, "modified": modified}
