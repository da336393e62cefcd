"""`skyferry`, of which a copy grows into two processes at once, whatever the load. SLOWLY or AT_FULL_SPEED comes first.

This process copies slowly until then, so that the growth is in the middle of the copy on any machine. The processes take two
seconds to start, as slow interpreters do. With WITHOUT_FORKS second, they are interpreters.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from skyferry.cli import main
from skyferry.cli.commands.objects.copying import prepare, processes, run
from skyferry.cli.commands.service import worker_process
from skyferry.config.settings import Settings
from skyferry.engine.consume.worker import WorkerPolicy
from skyferry.processes import counts, growth, spares
from skyferry.processes.pool import WorkerPool
from skyferry.wiring import service

SLOWLY, AT_FULL_SPEED = "slowly", "at full speed"
FORKED, WITHOUT_FORKS = "forked", "without forks"
STARTED, BEGUN = "the others start", "the others begin"  # to standard error


def announce(run_handover: Callable[[growth.WorkHandover], Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def run_announced(handover: growth.WorkHandover) -> None:
        print(BEGUN, file=sys.stderr, flush=True)
        await run_handover(handover)

    return run_announced


def announce_start(command: growth.Growable) -> growth.Growable:
    def open_announced(count: int) -> WorkerPool:
        print(STARTED, file=sys.stderr, flush=True)
        return command.open_pool(count)

    return replace(command, open_pool=open_announced)


def delay(main: Callable[[int], int]) -> Callable[[int], int]:
    def main_delayed(descriptor: int) -> int:
        time.sleep(2.0)
        return main(descriptor)

    return main_delayed


def slow_down(build: Callable[[Settings], WorkerPolicy]) -> Callable[[Settings], WorkerPolicy]:
    return lambda settings: replace(build(settings), held_messages=3, batch=1)


if __name__ == "__main__":
    policy = growth.GrowthPolicy(window=0.05, bound=0.0, lacking=2.0, rest=0.0, rate=0.0)
    build = service._build_policy
    forks = sys.argv.pop(2) == FORKED
    for module, name, value in (
        (run, "SHORT", 0.0),
        (growth, "POLICY", policy),
        (counts, "count_cores", lambda: 2),
        (prepare, "FEW", 0),
        (spares, "_can_fork", lambda: forks),
        (worker_process, "main", delay(worker_process.main)),
        (processes, "Growable", lambda *parts: announce_start(growth.Growable(*parts))),
        (growth.WorkHandover, "run", announce(growth.WorkHandover.run)),
        (service, "_build_policy", slow_down(build) if sys.argv.pop(1) == SLOWLY else build),
    ):
        setattr(module, name, value)
    main()
