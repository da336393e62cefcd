"""The URL scheme of ledgers in PostgreSQL."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from skyferry.config.schemes import AT_A_SERVER, LedgerScheme
from skyferry.config.settings import LedgerSettings
from skyferry.postgres.address import OPTIONS, VARIABLE, parse_postgres

if TYPE_CHECKING:
    from skyferry.errors import LedgerError
    from skyferry.ledgers.postgres.ledger import PostgresLedger
    from skyferry.ports.ledger import LedgerMaintenance
    from skyferry.ports.opening import LedgerContext
    from skyferry.postgres.pool import PostgresPool

FORM = "postgresql://HOST/DATABASE"


def _check(settings: LedgerSettings) -> None:
    parse_postgres(settings.url, FORM, names=0, allow_plain=settings.allow_http)


def _connect(context: LedgerContext) -> PostgresPool[LedgerError]:
    from skyferry.errors import LedgerError
    from skyferry.ledgers.postgres.database import HISTORY
    from skyferry.postgres.pool import PoolOptions, PostgresPool

    settings = context.settings
    address = parse_postgres(settings.url, FORM, names=0, allow_plain=settings.allow_http)
    options = PoolOptions(address, settings.tls, application=f"skyferry ledger {HISTORY.known}")
    return PostgresPool("ledger", options, context.credentials, LedgerError)


async def _open(context: LedgerContext) -> PostgresLedger:
    from skyferry.ledgers.postgres.ledger import open_ledger

    return await open_ledger(
        _connect(context), context.owner, context.settings.lease, context.on_health, reads=context.reads
    )


def _maintain(context: LedgerContext) -> LedgerMaintenance:
    from skyferry.ledgers.postgres.maintenance import PostgresLedgerMaintenance

    return PostgresLedgerMaintenance(partial(_connect, context), partial(_open, context))


POSTGRES_LEDGER = LedgerScheme(
    FORM,
    _open,
    _maintain,
    options=OPTIONS,
    settings=AT_A_SERVER,
    parts=2,
    cloud="server",
    secret_env=VARIABLE,
    token_login=True,
    extra="postgres",
    needs=("asyncpg",),
    check=_check,
)
