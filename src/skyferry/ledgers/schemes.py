"""The URL schemes of ledgers: one row each, whose `opens` is a coroutine function.

It imports no adapter, for settings are checked with these rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from skyferry.config.schemes import LedgerScheme
from skyferry.ledgers.postgres.scheme import POSTGRES_LEDGER
from skyferry.ledgers.redis.scheme import REDIS_LEDGER, REDIS_LEDGER_TLS

if TYPE_CHECKING:
    from skyferry.ports import Ledger
    from skyferry.ports.ledger import LedgerMaintenance
    from skyferry.ports.opening import LedgerContext


async def _open_file(context: LedgerContext) -> Ledger:
    from skyferry.ledgers.sqlite.ledger import SqliteLedger

    path = context.url.path(context.workspace)
    return await asyncio.to_thread(
        SqliteLedger,
        path,
        context.owner,
        context.clock,
        context.settings.lease,
        context.on_health,
        reads=context.reads,
    )


def _maintain_file(context: LedgerContext) -> LedgerMaintenance:
    from skyferry.ledgers.sqlite.maintenance import SqliteLedgerMaintenance

    path = context.url.path(context.workspace)
    return SqliteLedgerMaintenance(path, context.owner, context.clock, context.settings.lease)


async def _open_memory(context: LedgerContext) -> Ledger:
    from skyferry.ledgers.memory.ledger import MemoryLedger

    return MemoryLedger(context.owner, context.clock, context.settings.lease)


LEDGERS: Mapping[str, LedgerScheme] = MappingProxyType(
    {
        "sqlite": LedgerScheme("sqlite://FILE", _open_file, _maintain_file, path=True),
        "postgresql": POSTGRES_LEDGER,
        "redis": REDIS_LEDGER,
        "rediss": REDIS_LEDGER_TLS,
        "memory": LedgerScheme("memory://NAME", _open_memory),
    }
)
