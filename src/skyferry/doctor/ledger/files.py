"""Damage of the ledger, the settings of its server, and damage of queues that Skyferry stores."""

from __future__ import annotations

from skyferry.config.settings import QueueSettings
from skyferry.doctor.check import Check, CheckSubject
from skyferry.errors import SkyferryError
from skyferry.ports.inspection import InspectableLedger, Wrong
from skyferry.ports.ledger import Durable
from skyferry.wiring import Opener


async def check_ledger(opener: Opener) -> list[Check]:
    """Check the ledger, if it exists."""
    place, durable = CheckSubject("ledger", "ledger"), opener.ledger_maintenance()
    try:
        wrong: list[Wrong] = await durable.find_wrong_settings() if isinstance(durable, InspectableLedger) else []
        return [
            *(place.wrong("settings", each.what, each.hint) for each in wrong),
            *await _check(place, durable),
        ]
    except SkyferryError as error:
        return [place.failed("reach", error)]


async def check_queue(opener: Opener, queue: QueueSettings) -> list[Check]:
    """Check a queue, if Skyferry stores it and it exists."""
    return await _check(CheckSubject("queue", queue.name), opener.durable_queue(queue))


async def _check(place: CheckSubject, durable: Durable | None) -> list[Check]:
    if durable is None or not await durable.exists():
        return []
    problems = await durable.find_damage(quick=True)
    said = "; ".join(problems[:3])
    return [place.wrong("whole", said, durable.remedy) if problems else place.ok("whole", durable.where)]
