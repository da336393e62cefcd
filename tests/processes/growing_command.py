"""`skyferry`, of which a copy grows into two processes at once, whatever the load. SLOWLY or AT_FULL_SPEED comes first.

This process copies slowly until then, so that the growth is in the middle of the copy on any machine.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace

from skyferry.cli import main
from skyferry.cli.commands.objects.copying import run
from skyferry.config.settings import Settings
from skyferry.engine.consume.worker import WorkerPolicy
from skyferry.processes import growth
from skyferry.wiring import service

SLOWLY, AT_FULL_SPEED = "slowly", "at full speed"
BEGUN = "the others begin"  # to standard error


def announce(run_handover: Callable[[growth.WorkHandover], Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def run_announced(handover: growth.WorkHandover) -> None:
        print(BEGUN, file=sys.stderr, flush=True)
        await run_handover(handover)

    return run_announced


def slow_down(build: Callable[[Settings], WorkerPolicy]) -> Callable[[Settings], WorkerPolicy]:
    return lambda settings: replace(build(settings), held_messages=3, batch=1)


if __name__ == "__main__":
    policy = growth.GrowthPolicy(window=0.05, bound=0.0, lacking=2.0, rest=0.0, rate=0.0, most=2)
    build = service._worker_policy
    for module, name, value in (
        (run, "SHORT", 0.0),
        (growth, "POLICY", policy),
        (growth, "count_cores", lambda: 2),
        (growth.WorkHandover, "run", announce(growth.WorkHandover.run)),
        (service, "_worker_policy", slow_down(build) if sys.argv.pop(1) == SLOWLY else build),
    ):
        setattr(module, name, value)
    main()
