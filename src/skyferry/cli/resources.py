"""How commands come to the configuration, to its ledger and queue, and to a running service."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from skyferry.errors import ConfigError, NotFound

if TYPE_CHECKING:
    from skyferry.config.settings import Settings
    from skyferry.ports import EventQueue, Ledger
    from skyferry.ports.ledger import LedgerMaintenance
    from skyferry.wiring import Opener


def load_settings(config: Path | None, workspace: Path | None, listen: str | None = None) -> Settings:
    """From the file, the environment and the command line. Raises ConfigFaults with all faults."""
    from skyferry.config.load import load

    return load(config, os.environ, workspace, listen, lambda old: print(f"warning: {old}", file=sys.stderr))


def own_token(settings: Settings) -> str | None:
    """Return the workspace's token for the server, made if need be; "" where it cannot be kept, None where all are let in."""
    from skyferry.config.urls import StoreUrl
    from skyferry.server.workspace_token import ensure_token

    if settings.server.local_access == "machine":
        return None
    if settings.server.token or settings.server.token_file:
        return ""
    workspace = settings.workspace.resolve()
    urls = [StoreUrl.parse(store.url) for store in settings.stores.values()]
    copied = any(url.on_disk and workspace.is_relative_to(url.path(workspace).resolve()) for url in urls)
    return "" if copied else ensure_token(workspace)  # in the folder of a store it would go to another cloud


def ledger_maintenance(opener: Opener) -> LedgerMaintenance:
    """Return the maintenance of the ledger. Raises ConfigError for a ledger in memory."""
    if (maintenance := opener.ledger_maintenance()) is None:
        raise _in_memory("ledger", opener.settings.ledger.url)
    return maintenance


@asynccontextmanager
async def opened_ledger(settings: Settings, *, create: bool = False) -> AsyncIterator[Ledger]:
    """The ledger that a service has written, whether it runs or not. Raises NotFound if there is none yet, but to `create`."""
    from skyferry.wiring import Opener

    opener = Opener(settings)
    maintenance = ledger_maintenance(opener)
    if not create and not await maintenance.exists():
        hint = "it comes with the first `skyferry run`; --workspace and --config say where"
        raise NotFound("there is no ledger yet", where=maintenance.where, hint=hint)
    ledger = opener.ledger()
    try:
        yield ledger
    finally:
        await ledger.close()


@asynccontextmanager
async def opened_queue(settings: Settings, name: str | None = None) -> AsyncIterator[EventQueue]:
    """The queue of that name, or the first, which takes submitted events."""
    from skyferry import wiring
    from skyferry.config.urls import QueueUrl

    for wanted in settings.queues:
        if name in (None, wanted.name) and QueueUrl.parse(wanted.url).scheme == "memory":
            raise _in_memory("queue", wanted.url)
    opener = wiring.Opener(settings)
    queue = opener.queue(name)
    try:
        yield queue
    finally:
        await queue.close()
        await opener.close()


def _in_memory(what: str, url: str) -> ConfigError:
    hint = "give --url if the command has it, or configure a sqlite:// URL"
    return ConfigError(
        f"the {what} is in the memory of the service and cannot be opened from here", where=url, hint=hint
    )
