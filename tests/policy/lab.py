"""A service that is configured as a user would, and runs as one would; events are put into its first queue."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from skyferry.config.load import load
from skyferry.config.settings import Settings
from skyferry.config.urls import resolve_store
from skyferry.engine.abandoned_uploads import abort_abandoned_uploads
from skyferry.events.native import encode_event
from skyferry.model import Change, ObjectEvent, ObjectRef
from skyferry.records import Record
from skyferry.wiring import Opener, build_service

MIB = 2**20
QUICK = {
    "retry": {"initial_delay": "50ms", "request_tries": 1, "max_retries": 2},
    "limits": {"part_size": "5MiB", "part_concurrency": 1, "multipart_threshold": "1B"},
    "breaker": {"failures": 100},
}


class Silence:
    """Nobody listens."""

    def on(self, record: Record) -> None:
        """Nothing."""


def settings(folder: Path, document: Mapping[str, Any]) -> Settings:
    """Of a file with this in it."""
    file = folder / "skyferry.yaml"
    file.write_text(yaml.safe_dump({"workspace": str(folder), **QUICK, **document}))
    return load(file, {})


def event(configured: Settings, store: str, key: str, change: Change = Change.CREATED) -> bytes:
    """What says that something happened to a key."""
    provider, bucket = resolve_store(configured.stores[store]).address
    source = ObjectRef(provider, bucket, key)
    return encode_event(ObjectEvent(str(uuid.uuid4()), change, source, time.time(), str(uuid.uuid4())))


async def run(configured: Settings) -> None:
    """`skyferry run --until-idle`."""
    async with build_service(configured, Silence()) as service:
        await service.run(until_idle=True)


async def look_after(configured: Settings) -> None:
    """`skyferry gc`, and what `skyferry copy` does first: list the sources."""
    opener = Opener(configured)
    sources = {route.source for route in configured.routes}
    stores = {name: opener.store(name) for name in configured.stores}
    ledger = await opener.ledger()
    try:
        await abort_abandoned_uploads(
            ledger, {r.destination: stores[r.destination] for r in configured.routes}, 0.0, opener.clock
        )
        for name in sources:
            _ = [meta async for meta in stores[name].list()]
    finally:
        await ledger.close()
        for store in stores.values():
            await store.close()
        await opener.close()
