"""Resources of commands: the settings, the ledger, the queues, and the token of the workspace."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from skyferry.cli.config_file import find_config
from skyferry.cli.parameters import format_command
from skyferry.errors import ConfigError, NotFound

if TYPE_CHECKING:
    from skyferry.config.reading.faults import ConfigFault
    from skyferry.config.settings import Settings
    from skyferry.ports import EventQueue, Ledger
    from skyferry.ports.ledger import LedgerMaintenance
    from skyferry.wiring import Opener


def load_settings(config: Path | None, workspace: Path | None, listen: str | None = None) -> Settings:
    """Load the settings from the file, the environment and the command line. Raises ConfigFaults with all faults."""
    from skyferry.config.load import load

    def warn(notice: ConfigFault) -> None:
        print(f"warning: {notice}", file=sys.stderr)

    return load(find_config(config, os.environ).file, os.environ, workspace, listen, warn)


def load_workspace_token(settings: Settings) -> str | None:
    """Return the token of the workspace, created if missing; "" if it cannot be stored, None if every local user is admitted."""
    from skyferry.config.urls import StoreUrl
    from skyferry.server.workspace_token import ensure_token

    if settings.server.local_access == "machine":
        return None
    if settings.server.token or settings.server.token_file:
        return ""
    workspace = settings.workspace.resolve()
    urls = [StoreUrl.parse(store.url) for store in settings.stores.values()]
    copied = any(url.on_disk and workspace.is_relative_to(url.path(workspace).resolve()) for url in urls)
    return (
        "" if copied else ensure_token(workspace)
    )  # a token in the folder of a store would be copied to another cloud


def ledger_maintenance(opener: Opener) -> LedgerMaintenance:
    """Return the maintenance of the ledger. Raises ConfigError for a ledger in memory."""
    if (maintenance := opener.ledger_maintenance()) is None:
        raise _in_memory_error("ledger", opener.settings.ledger.url)
    return maintenance


async def find_ledger(opener: Opener, hint: str) -> LedgerMaintenance:
    """Return the maintenance of a ledger that exists. Raises NotFound with `hint` if it does not, ConfigError as above."""
    maintenance = ledger_maintenance(opener)
    if not await maintenance.exists():
        raise NotFound("the ledger does not exist", where=maintenance.where, hint=hint)
    return maintenance


@asynccontextmanager
async def open_ledger(settings: Settings, *, create: bool = False, reads: bool = False) -> AsyncIterator[Ledger]:
    """Open the ledger, whether a service runs or not. Raises NotFound if it does not exist, unless `create` is set.

    With `reads`, for reading only: nothing is entered.
    """
    from skyferry.wiring import Opener

    opener = Opener(settings)
    if create:
        ledger_maintenance(opener)
    else:
        await find_ledger(opener, f"start `{format_command('run')}` once, or correct --workspace or --config")
    ledger = await opener.ledger(reads=reads)
    try:
        yield ledger
    finally:
        await ledger.close()


@asynccontextmanager
async def open_queue(settings: Settings, name: str | None = None) -> AsyncIterator[EventQueue]:
    """Open the queue `name`, or the first queue, which receives submitted events."""
    from skyferry import wiring
    from skyferry.config.urls import QueueUrl

    for wanted in settings.queues:
        if name in (None, wanted.name) and QueueUrl.parse(wanted.url).known.shared_by == "process":
            raise _in_memory_error("queue", wanted.url)
    opener = wiring.Opener(settings)
    queue = opener.queue(name)
    try:
        yield queue
    finally:
        await queue.close()
        await opener.close()


def _in_memory_error(what: str, url: str) -> ConfigError:
    hint = "use --url if the command has it, or configure a sqlite:// URL"
    return ConfigError(
        f"the {what} is in the memory of the service, so other processes cannot open it", where=url, hint=hint
    )
