"""A fleet in distress: four workers on hosts of their own, one ledger, one queue, and faults at random.

    python -m tests.fleet.drill [--events 20000] [--faults 40] [--seed 1] [--ledger postgresql|redis] [--folder DIR]

Each host is a network namespace with a wall clock of its own, up to five minutes wrong. 30 % of the events are duplicates,
10 % of the objects are overwritten and 2 % deleted meanwhile. Prints a table; exits with 1 if a promise was broken.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.fleet.fleet import Fleet, LedgerFault, wait_until
from tests.fleet.network import find_faketime, network, why_no_namespaces
from tests.fleet.objects import Objects
from tests.fleet.servers import Engine, servers
from tests.fleet.verdict import Verdict, judge

HOSTS = 4
SKEW = 300  # seconds
LEDGER_FAULTS: dict[Engine, tuple[LedgerFault, LedgerFault]] = {
    "postgresql": ("restarted", "killed"),
    "redis": ("killed", "lost its last second"),
}
SETTLED_WITHIN = 600.0  # seconds after the last fault


@dataclass(frozen=True, slots=True)
class Drill:
    """The parameters of a drill."""

    events: int = 20_000
    faults: int = 40
    seed: int = 1
    engine: Engine = "postgresql"
    separate: bool = True  # hosts are network namespaces
    program: tuple[str, ...] = ()  # a worker with a planted bug, by default none


async def run_drill(drill: Drill, folder: Path) -> Verdict:
    """Run it in an empty folder, which has the logs of the workers afterwards."""
    began = time.monotonic()
    dice = random.Random(f"clocks {drill.seed}")
    ahead = [dice.randint(-SKEW, SKEW) for _ in range(HOSTS)] if find_faketime() else [0] * HOSTS
    with network(ahead, separate=drill.separate) as net:
        async with servers(net, folder, drill.engine) as shared:
            objects = Objects(shared, drill.events, drill.seed)
            fleet = Fleet(net, shared, folder, drill.seed, list(drill.program))
            try:
                await objects.prepare()
                prepared = time.monotonic()
                fleet.start()
                await _distress(drill, fleet, objects)
                fleet.start()
                idle = await wait_until(objects.is_queue_empty, SETTLED_WITHIN)
                settled = time.monotonic()
                await fleet.stop()
                verdict = await judge(objects, shared, fleet.logs, fleet.losses)
            finally:
                fleet.kill()
                await objects.close()
    if not idle:
        verdict.breaches.insert(0, f"missing: messages are left after {SETTLED_WITHIN:.0f} s")
    verdict.breaches += fleet.find_unexpected_ends()
    figures = {
        "messages sent": objects.sent,
        "seconds with workers": round(settled - prepared),
        "seconds in all": round(time.monotonic() - began),
    }
    clocks = {f"clock of host {number}, seconds ahead": seconds for number, seconds in enumerate(ahead)}
    verdict.counts = figures | clocks | dict(sorted(fleet.counts.items())) | verdict.counts
    return verdict


async def _distress(drill: Drill, fleet: Fleet, objects: Objects) -> None:
    """Send the events in as many slices as there are faults. The ledger suffers after a third of them, and after two."""
    breaks = dict(zip((drill.faults // 3, 2 * drill.faults // 3), LEDGER_FAULTS[drill.engine], strict=True))
    for number in range(drill.faults):
        sent = objects.send(drill.faults - number)
        if fault := breaks.get(number):
            await asyncio.gather(sent, fleet.break_ledger(fault), fleet.suffer())
        else:
            await sent
            await fleet.suffer()


def format_verdict(verdict: Verdict) -> str:
    """Return the table, and the breaches below it."""
    width = max(map(len, verdict.counts))
    lines = [f"{name:<{width}}  {number:>8,}" for name, number in verdict.counts.items()]
    said = verdict.breaches[:50] or ["nothing missing, nothing twice, nothing backwards, no other dead letters"]
    return "\n".join([*lines, "", *said, *(["…"] if len(verdict.breaches) > 50 else [])])


def main() -> int:
    """Run a drill from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--faults", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ledger", choices=("postgresql", "redis"), default="postgresql")
    parser.add_argument("--folder", type=Path, help="an empty folder for the logs; by default one that is removed")
    parser.add_argument("--worker", nargs="+", default=(), help="the program of a worker, by default `skyferry run`")
    given = parser.parse_args()
    if why := why_no_namespaces():
        print(f"{why}: the workers run as plain processes, and are not cut off", file=sys.stderr)
    if not find_faketime():
        print("libfaketime is missing (apt-get install faketime): all clocks are right", file=sys.stderr)
    drill = Drill(given.events, given.faults, given.seed, given.ledger, not why, tuple(given.worker))
    with tempfile.TemporaryDirectory(prefix="skyferry-drill-") as scratch:
        folder = given.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        verdict = asyncio.run(run_drill(drill, folder.resolve()))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    verdict.counts["CPU seconds of workers and servers"] = round(used.ru_utime + used.ru_stime)
    print(format_verdict(verdict))
    return 1 if verdict.breaches else 0


if __name__ == "__main__":
    sys.exit(main())
