"""The URL scheme of queues in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skyferry.config.schemes import AT_A_SERVER, QueueScheme
from skyferry.config.settings import QueueAddress
from skyferry.model import QueueTraits
from skyferry.postgres.address import OPTIONS, VARIABLE, parse_postgres

if TYPE_CHECKING:
    from skyferry.ports import EventQueue
    from skyferry.ports.opening import QueueContext

FORM = "postgresql://HOST/DATABASE/QUEUE"
TRAITS = QueueTraits()  # Skyferry stores it: every ability


def _complete(settings: QueueAddress, account: str) -> QueueAddress:
    parse_postgres(settings.url, FORM, names=1, allow_plain=settings.allow_http)
    return settings


def _open(context: QueueContext) -> EventQueue:
    from skyferry.errors import QueueError
    from skyferry.postgres.pool import PoolOptions, PostgresPool
    from skyferry.queues.postgres.queue import HISTORY, PostgresQueue

    settings = context.where.settings
    address = parse_postgres(settings.url, FORM, names=1, allow_plain=settings.allow_http)
    options = PoolOptions(address, settings.tls, application=f"skyferry queues {HISTORY.known}")
    pool = PostgresPool(context.name, options, context.credentials, QueueError)
    return PostgresQueue(context.name, pool, context.owner, context.clock, settings.lease)


POSTGRES_QUEUE = QueueScheme(
    FORM,
    _open,
    options=OPTIONS,
    settings=AT_A_SERVER,
    parts=3,
    cloud="server",
    secret_env=VARIABLE,
    token_login=True,
    extra="postgres",
    needs=("asyncpg",),
    traits=TRAITS,
    complete=_complete,
)
