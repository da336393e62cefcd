"""`skyferry doctor`: may it do what its routes need, found out by doing it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from skyferry.cli import access, output
from skyferry.cli.exit_codes import ExitCode
from skyferry.cli.options import ConfigFile, Json, Workspace
from skyferry.errors import ObjectNotFound, SkyferryError

if TYPE_CHECKING:
    from skyferry.config.settings import Settings
    from skyferry.ports import ObjectStore
    from skyferry.wiring import Opener

SKEW = 60.0  # seconds that a store's clock may differ from ours
CANARY = b"Skyferry looks whether it may write here, and removes this at once.\n"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at."""

    where: str  # the store or queue
    what: str
    ok: bool
    detail: str = ""
    hint: str = ""


def doctor(
    write: Annotated[
        bool,
        typer.Option("--write/--no-write", help="Write a canary object at each destination, read it, and delete it."),
    ] = True,
    prefix: Annotated[
        str, typer.Option("--prefix", metavar="TEXT", help="Where canaries are written.")
    ] = "skyferry-doctor/",
    config: ConfigFile = None,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """See from where it runs whether the routes can work: may sources be listed and read, destinations written, read and
    deleted at, do queues answer, do the clocks agree.

    JSON: `ok`, and `checks`, each with `where` (store or queue), `what`, `ok`, `detail` and `hint`. Exit code 1 says that something
    is wrong.
    """
    settings = access.load_settings(config, workspace)
    found = asyncio.run(_examine(settings, prefix if write else None))
    ok = all(check.ok for check in found)
    if json:
        output.emit({"ok": ok, "checks": [asdict(check) for check in found]})
    else:
        output.lines(*map(_line, found))
    if not ok:
        raise typer.Exit(ExitCode.FAILED)


def _line(check: Check) -> str:
    detail, hint = f": {check.detail}" if check.detail else "", f" ({check.hint})" if check.hint else ""
    return f"{'✓' if check.ok else '✗'} {check.where}: {check.what}{detail}{hint}"


async def _examine(settings: Settings, prefix: str | None) -> list[Check]:
    from skyferry.wiring import Opener

    opener = Opener(settings)
    sources, destinations = ({getattr(r, end): None for r in settings.routes} for end in ("source", "destination"))
    try:
        found = [await _try(name, "objects may be listed and read", _source(opener, name)) for name in sources]
        what = "objects may be looked at" if prefix is None else "objects may be written, read and deleted"
        found += [await _try(name, what, _destination(opener, name, prefix)) for name in destinations]
        found += [await _try(queue.name, "the queue answers", _queue(opener, queue.name)) for queue in settings.queues]
    finally:
        await opener.close()
    return found


@asynccontextmanager
async def _store(opener: Opener, name: str) -> AsyncIterator[ObjectStore]:
    store = opener.store(name)
    try:
        yield store
    finally:
        await store.close()


async def _try(where: str, what: str, act: Awaitable[str]) -> Check:
    try:
        return Check(where, what, True, await act)
    except SkyferryError as error:
        return Check(where, what, False, error.message, error.hint)


async def _source(opener: Opener, name: str) -> str:
    async with _store(opener, name) as store:
        async for meta in store.list():
            with suppress(ObjectNotFound):  # deleted since
                await store.read(meta.key, 0, 1)
            return ""
    return "it is empty, so nothing was read"


async def _destination(opener: Opener, name: str, prefix: str | None) -> str:
    async with _store(opener, name) as store:
        if prefix is not None:
            return await _canary(store, f"{prefix}{secrets.token_hex(8)}")
        with suppress(ObjectNotFound):
            await store.head("skyferry")
    return ""


async def _canary(store: ObjectStore, key: str) -> str:
    """Raises SkyferryError also where the clocks differ: positions in time would not compare."""
    import time

    from skyferry.model import Attributes
    from skyferry.testing.store_cases.place import digests

    await store.write(key, CANARY, Attributes(content_type="text/plain"), digests(CANARY))
    try:
        got = await store.read(key, 0, len(CANARY))
        if got.data != CANARY:
            raise SkyferryError("what was read is not what was written")
    finally:
        await store.delete(key)
    if (skew := got.meta.modified - time.time()) > SKEW or skew < -SKEW:
        raise SkyferryError(
            f"its clock differs by {output.span(abs(skew))}", hint="see that this machine's clock is set (NTP)"
        )
    return ""


async def _queue(opener: Opener, name: str) -> str:
    queue = opener.queue(name)
    try:
        depth = await queue.depth()
    finally:
        await queue.close()
    return f"{depth.ready:,} messages wait" if depth.ready >= 0 else ""
