"""The URL schemes of ledgers in Redis."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from skyferry.config.schemes import AT_A_SERVER, LedgerScheme
from skyferry.config.settings import LedgerSettings
from skyferry.redis.address import OPTIONS, VARIABLE, RedisAddress, parse_redis

if TYPE_CHECKING:
    from skyferry.errors import LedgerError
    from skyferry.ledgers.redis.ledger import RedisLedger
    from skyferry.ports.ledger import LedgerMaintenance
    from skyferry.ports.opening import LedgerContext
    from skyferry.redis.client import RedisClient

FORM = "redis://HOST/NAME"
WRONG_TYPE = "Another program uses keys of that name. Use another name in the URL."


def _address(settings: LedgerSettings) -> RedisAddress:
    return parse_redis(settings.url, FORM, names=1, allow_plain=settings.allow_http)


def _check(settings: LedgerSettings) -> None:
    _address(settings)


def _connect(context: LedgerContext) -> RedisClient[LedgerError]:
    from skyferry.errors import LedgerError
    from skyferry.redis.client import RedisClient, RedisOptions

    options = RedisOptions(_address(context.settings), context.settings.tls, wrong_type=WRONG_TYPE)
    return RedisClient("ledger", options, context.credentials, LedgerError)


async def _open(context: LedgerContext) -> RedisLedger:
    from skyferry.ledgers.redis.ledger import open_ledger

    return await open_ledger(_connect(context), context.owner, context.settings.lease, context.on_health)


def _maintain(context: LedgerContext) -> LedgerMaintenance:
    from skyferry.ledgers.redis.maintenance import RedisLedgerMaintenance

    return RedisLedgerMaintenance(partial(_connect, context), partial(_open, context))


REDIS_LEDGER = LedgerScheme(
    FORM,
    _open,
    _maintain,
    options=OPTIONS,
    settings=AT_A_SERVER,
    parts=2,
    cloud="server",
    secret_env=VARIABLE,
    extra="redis",
    needs=("redis",),
    check=_check,
)
REDIS_LEDGER_TLS = replace(REDIS_LEDGER, form="rediss://HOST/NAME")
