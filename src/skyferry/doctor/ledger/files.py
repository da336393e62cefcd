"""Damage of the ledger, the settings of its server, and damage of queues that Skyferry stores."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from skyferry.config.settings import QueueSettings
from skyferry.doctor.check import FIRST_RUN, Check, CheckSubject
from skyferry.doctor.facts import NTP, SKEW
from skyferry.errors import SkyferryError
from skyferry.ports.inspection import InspectableLedger, LedgerFacts, Unknown
from skyferry.ports.ledger import Durable
from skyferry.wiring import Opener

QUICK = 10.0  # seconds to look for damage: a large file takes minutes, and `doctor` should end soon
CHECK = "`skyferry ledger check` reads all of it."


async def check_ledger(opener: Opener) -> list[Check]:
    """Check the server of the ledger, and the ledger itself if it exists."""
    place = CheckSubject("ledger", "ledger")
    try:
        maintenance = opener.ledger_maintenance()
    except SkyferryError as error:  # its extra is missing
        return [place.failed("reach", error)]
    return await _check_all(place, maintenance)


async def _check_all(place: CheckSubject, durable: Durable | None) -> list[Check]:
    server: object = durable
    checks = list[Check]()
    try:
        if isinstance(server, InspectableLedger):
            checks += check_server(place, await server.inspect())
        return [*checks, *await _check(place, durable)]
    except SkyferryError as error:
        return [*checks, place.failed("reach", error)]


def check_server(place: CheckSubject, facts: LedgerFacts) -> Iterator[Check]:
    """Yield the checks of the server, or of the place of the file. Pure."""
    if facts.endpoint:
        yield place.ok("reach", facts.endpoint)
        yield place.report("identity", facts.who)
    yield from (place.wrong("settings", each.what, each.hint) for each in facts.wrong)
    yield from (place.unknown("settings", each.what, each.hint) for each in facts.doubtful)
    if facts.endpoint:
        yield _check_clock(place, facts.skew)
        yield place.ok("setup", "; ".join(facts.notes))


def _check_clock(place: CheckSubject, skew: float | Unknown) -> Check:
    """Check a clock that leases follow. It may differ from that of the workers, whose times are in receipts and failures."""
    if isinstance(skew, Unknown):
        return place.unknown("clock", skew)
    if abs(skew) <= SKEW:
        return place.ok("clock", f"within {max(2, round(abs(skew)))} s")
    detail = (
        f"it is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}, so times in listings disagree; leases do not"
    )
    return place.unknown("clock", detail, NTP)


async def check_queue(opener: Opener, queue: QueueSettings) -> list[Check]:
    """Check a queue, if Skyferry stores it and it exists."""
    return await _check_all(CheckSubject("queue", queue.name), opener.durable_queue(queue))


async def _check(place: CheckSubject, durable: Durable | None) -> list[Check]:
    if durable is None:
        return []
    if not await durable.exists():
        return (
            [place.unknown("usable", f"{durable.where} does not exist yet", FIRST_RUN)]
            if place.kind == "ledger"
            else []
        )
    try:
        async with asyncio.timeout(QUICK):
            problems = await durable.find_damage(quick=True)
    except TimeoutError:
        hint = CHECK if place.kind == "ledger" else ""
        return [place.unknown("whole", f"{durable.where} is too large to be read within {QUICK:.0f} s", hint)]
    said = "; ".join(problems[:3])
    return [place.wrong("whole", said, durable.remedy) if problems else place.ok("whole", durable.where)]
