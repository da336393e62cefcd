"""Damage of the ledger and of queues that Skyferry stores."""

from __future__ import annotations

from skyferry.config.settings import QueueSettings
from skyferry.doctor.check import Check, CheckSubject
from skyferry.errors import SkyferryError
from skyferry.ports.inspection import InspectableLedger, Wrong
from skyferry.ports.ledger import Durable
from skyferry.wiring import Opener

REBUILD = "stop the service, then run `skyferry ledger rebuild` or restore a backup"
ASIDE = "stop the service, then move the file away with its -wal and -shm files; a new one is created"


async def check_ledger(opener: Opener) -> list[Check]:
    """Check the ledger, if it exists."""
    place, durable = CheckSubject("ledger", "ledger"), opener.ledger_maintenance()
    try:
        wrong: list[Wrong] = await durable.find_wrong_settings() if isinstance(durable, InspectableLedger) else []
        return [
            *(place.wrong("settings", each.what, each.hint) for each in wrong),
            *await _check(place, durable, REBUILD),
        ]
    except SkyferryError as error:
        return [place.failed("reach", error)]


async def check_queue(opener: Opener, queue: QueueSettings) -> list[Check]:
    """Check a queue, if Skyferry stores it and it exists."""
    return await _check(CheckSubject("queue", queue.name), opener.durable_queue(queue), ASIDE)


async def _check(place: CheckSubject, durable: Durable | None, hint: str) -> list[Check]:
    if durable is None or not await durable.exists():
        return []
    problems = await durable.find_damage(quick=True)
    return [place.wrong("whole", "; ".join(problems[:3]), hint) if problems else place.ok("whole", durable.where)]
