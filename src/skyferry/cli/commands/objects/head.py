"""`skyferry head`: show the metadata of one object."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from skyferry.cli import resources
from skyferry.cli.arguments import object_urls
from skyferry.cli.arguments.options import ConfigFile, Json
from skyferry.cli.parameters import Argument
from skyferry.cli.render import output
from skyferry.errors import ConfigError, ObjectNotFound

if TYPE_CHECKING:
    from skyferry.cli.arguments.object_urls import ObjectLocation
    from skyferry.config.settings import Settings
    from skyferry.model import ObjectMeta


def head(
    url: Annotated[str, Argument(metavar="URL", help="s3://BUCKET/KEY, gs://…, az://…, or a path.")],
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Show what a store says about one object: size, version, checksums and all that it carries.

    JSON: `key`, `size`, `version`, `modified`, `position` (null if the store orders no versions), `checksums` (hexadecimal,
    by name) and `attributes` (`content_type`, `content_encoding`, `content_language`, `content_disposition`, `cache_control`,
    `storage_class`, `metadata`, `tags`).
    """
    settings = resources.load_settings(config, None)
    wanted = object_urls.locate_object(url, settings)
    if wanted.folder:
        raise ConfigError("the URL names no object", where=url, hint="use `skyferry ls` to list a prefix")
    meta = asyncio.run(_get_metadata(wanted, settings))
    known = _format_metadata(meta)
    if json:
        output.print_json(known)
    else:
        output.print_lines(*_format_rows(known))


async def _get_metadata(wanted: ObjectLocation, settings: Settings) -> ObjectMeta:
    async with object_urls.open_protected(wanted, settings) as store:
        try:
            return await store.head(wanted.key)
        except ObjectNotFound as error:
            hint = "`skyferry ls` shows what there is"
            raise ObjectNotFound("there is no such object", where=wanted.text, hint=hint) from error


def _format_rows(known: Mapping[str, object], kind: str = "") -> Iterator[str]:
    for name, value in known.items():
        if isinstance(value, dict):
            yield from _format_rows(value, f"{name} " if name in ("metadata", "tags") else "")
        elif value not in (None, ""):
            yield f"{kind + name:<28} {value}"


def _format_metadata(meta: ObjectMeta) -> dict[str, object]:
    checksums = {name: value for name, value in asdict(meta.checksums).items() if value}
    carried = meta.attributes
    return {
        "key": meta.key,
        "size": meta.size,
        "version": meta.version,
        "modified": output.format_timestamp(meta.modified),
        "position": str(meta.position) if meta.position else None,
        "checksums": checksums,
        "attributes": {
            "content_type": carried.content_type,
            "content_encoding": carried.content_encoding,
            "content_language": carried.content_language,
            "content_disposition": carried.content_disposition,
            "cache_control": carried.cache_control,
            "storage_class": carried.storage_class,
            "metadata": dict(carried.metadata),
            "tags": dict(carried.tags),
        },
    }
