"""`skyferry ls`: list the objects of a bucket or folder."""

from __future__ import annotations

import asyncio
import sys
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated

from skyferry.cli import resources
from skyferry.cli.arguments import object_urls
from skyferry.cli.arguments.options import ConfigFile, Json
from skyferry.cli.parameters import Argument, Option
from skyferry.cli.render import output
from skyferry.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from skyferry.cli.arguments.object_urls import ObjectLocation
    from skyferry.config.settings import Settings
    from skyferry.model import ObjectMeta
    from skyferry.ports import ObjectStore


def ls(
    url: Annotated[
        str, Argument(metavar="URL", help="s3://BUCKET/PREFIX, gs://…, az://…, or a path; * and ** are wildcards.")
    ],
    long: Annotated[bool, Option("-l", "--long", help="Show exact sizes, times in UTC, and versions.")] = False,
    limit: Annotated[
        int, Option("--limit", metavar="N", min=0, help="The maximum number of objects, in the order of keys; 0 = all.")
    ] = 0,
    after: Annotated[str, Option("--after", metavar="KEY", help="Only keys after this one.")] = "",
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """List the objects whose keys begin with a prefix, or match a wildcard, as the store lists them.

    Sizes are rounded to binary units; --long shows bytes. Exit code 1 means that nothing is there; an empty bucket or folder
    exists, and has no lines.

    JSON: one document per line and object, with `key`, `size`, `version` and `modified`.
    """
    settings = resources.load_settings(config, None)
    wanted = object_urls.locate_object(url, settings)
    if wanted.path is not None and not wanted.path.is_dir():
        raise NotFound("the folder does not exist", where=url, hint="correct the path")
    show = _print_json if json else _print_long if long else _print_object
    last = asyncio.run(_print_objects(wanted, settings, limit, after, show))
    if last and not json:
        print(output.escape_control(f"there are more: --after {last!r}"), file=sys.stderr)


async def _print_objects(
    wanted: ObjectLocation, settings: Settings, limit: int, after: str, show: Callable[[ObjectMeta], None]
) -> str:
    """Print the objects. Return the last key if there are more than `limit`. Raises NotFound if nothing is there."""
    if limit:
        found = await _list_objects(wanted, settings, limit, after)
        for meta in found[:limit]:
            show(meta)
        count, last = len(found), found[limit - 1].key if len(found) > limit else ""
    else:
        count, last = 0, ""
        async with object_urls.open_protected(wanted, settings) as store:
            async for meta in _select_objects(store, wanted, after):
                show(meta)
                count += 1
    if not count and not after and (wanted.key or wanted.wildcard):
        raise NotFound("nothing is there", where=wanted.text, hint="correct the prefix")
    return last


async def _list_objects(wanted: ObjectLocation, settings: Settings, limit: int, after: str) -> list[ObjectMeta]:
    """Return the first `limit` objects, and one more if there are more, in the order of the bytes of their keys."""
    from skyferry.model import UNPLAIN

    found: list[ObjectMeta] = []
    async with object_urls.open_protected(wanted, settings) as store:
        listing = _select_objects(store, wanted, after)
        async for meta in listing:
            found.append(meta)
            if len(found) > limit:
                break
        await listing.aclose()
        order = store.traits.order
        if order == "none" or (order == "plain" and any(UNPLAIN.search(meta.key) for meta in found)):
            found = await _find_first(_select_objects(store, wanted, after), limit + 1)
    return found


async def _select_objects(store: ObjectStore, wanted: ObjectLocation, after: str) -> AsyncGenerator[ObjectMeta, None]:
    """Yield the objects that are wanted, in the order of the store. An object whose key is the wildcard itself is one of them."""
    wildcard = wanted.wildcard
    prefix = wildcard.prefix if wildcard else wanted.key
    async for meta in store.list(prefix, after):
        if wildcard is None or wildcard.takes(meta.key[len(prefix) :]):
            yield meta


async def _find_first(listing: AsyncIterator[ObjectMeta], count: int) -> list[ObjectMeta]:
    """Return the first `count` objects by key. Reads the whole listing, whatever its order."""
    found: list[ObjectMeta] = []
    async for meta in listing:
        found.append(meta)
        if len(found) >= 2 * count:
            found = sorted(found, key=attrgetter("key"))[:count]
    return sorted(found, key=attrgetter("key"))[:count]


def _print_object(meta: ObjectMeta) -> None:
    output.print_lines(
        f"{output.format_size(meta.size):>10}  {output.format_time(meta.modified)}  {output.escape_control(meta.key)}"
    )


def _print_long(meta: ObjectMeta) -> None:
    modified = output.format_timestamp(meta.modified)
    output.print_lines(
        f"{meta.size:>14}  {modified}  {output.escape_control(meta.version)}  {output.escape_control(meta.key)}"
    )


def _print_json(meta: ObjectMeta) -> None:
    modified = output.format_timestamp(meta.modified)
    output.print_json({"key": meta.key, "size": meta.size, "version": meta.version, "modified": modified})
