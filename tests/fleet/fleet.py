"""Workers of a drill, and what happens to them."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from typing import Literal

from tests.fleet.network import Host, Network, send
from tests.fleet.servers import LEASE, Servers
from tests.fleet.settlements import Loss

RUN = [sys.executable, "-m", "skyferry", "run", "--no-live"]
AWAY = 4  # exit code of a worker that was started while a server was away; an orchestrator starts it again
UNWRITTEN = 2.0  # seconds that Redis may keep from its file with `appendfsync everysec`, while the disk is slow
LONGER = LEASE * 1.4  # seconds: as long as another worker needs to take over

# "lost its last second": a machine died, and its disk with the journal has all but the last second
LedgerFault = Literal["restarted", "killed", "lost its last second"]


class Fleet:
    """One worker on each host. `counts` has how often each fault happened."""

    def __init__(
        self, net: Network, servers: Servers, folder: Path, seed: int, program: list[str] | None = None
    ) -> None:
        """Run `program` with `--config FILE`, by default `skyferry run`."""
        self.counts: Counter[str] = Counter()
        self.losses: list[Loss] = []
        self._net, self._servers, self._folder = net, servers, folder
        self._program = program or RUN
        self._dice = random.Random(f"fleet {seed}")
        self._workers: dict[str, Popen[bytes]] = {}
        self._ended: list[str] = []
        self._deck: list[str] = []

    @property
    def logs(self) -> dict[Path, int]:
        """The logs of all workers, and by how many seconds their clocks are ahead."""
        return {self._log(host): host.ahead for host in self._net.hosts}

    @property
    def faults(self) -> dict[str, Callable[[Host], Awaitable[None]]]:
        """The faults of a host, by name."""
        alone: dict[str, Callable[[Host], Awaitable[None]]] = {
            "killed": self._kill,
            "stopped longer than the lease": self._pause,
            "drained and joined": self._drain,
        }
        if not self._net.separate:
            return alone
        return alone | {
            f"cut off from the {name}": lambda host, address=address: self._cut_off(host, address)
            for name, address in (
                ("ledger", self._net.ledger),
                ("queue", self._net.queue),
                ("destination", self._net.destination),
            )
        }

    def start(self) -> None:
        """Start a worker on each host that has none, as an orchestrator does."""
        for host in self._net.hosts:
            worker = self._workers.get(host.name)
            if worker is None or worker.poll() == AWAY:
                self.counts["started again, as a server was away"] += worker is not None
                command = [*self._program, "--config", str(self._servers.config)]
                self._workers[host.name] = host.spawn(command, self._log(host), self._folder, self._servers.env)

    async def suffer(self) -> None:
        """Let one fault happen to a host at random; a fault comes again once each has happened."""
        self.start()
        if not self._deck:
            self._deck = list(self.faults)
            self._dice.shuffle(self._deck)
        name, host = self._deck.pop(), self._dice.choice(self._net.hosts)
        self.counts[name] += 1
        await self.faults[name](host)

    async def break_ledger(self, fault: LedgerFault) -> None:
        """End the server of the ledger while the workers run, and start it again."""
        self.counts[f"ledger {fault}"] += 1
        ledger, journal = self._servers.ledger, self._servers.journal
        size, began = journal.stat().st_size if journal else 0, time.time()
        if fault == "lost its last second":
            await asyncio.sleep(1.0)
        await asyncio.to_thread(ledger.stop if fault == "restarted" else ledger.kill)
        if journal and fault == "lost its last second":
            os.truncate(journal, size)
            self.losses.append(Loss(began, time.time()))
        elif journal and fault == "killed":
            self.losses.append(Loss(time.time() - UNWRITTEN, time.time()))
        await asyncio.sleep(self._dice.random() * 2)
        await asyncio.to_thread(ledger.start)

    def find_unexpected_ends(self) -> list[str]:
        """Return workers that ended although no fault ended them."""
        ended = [
            f"{name} ended with {code}" for name, w in self._workers.items() if (code := w.poll()) not in (None, AWAY)
        ]
        return self._ended + ended

    async def stop(self) -> None:
        """End all workers with SIGTERM."""
        for host in self._net.hosts:
            if host.name in self._workers:
                await self._end(host)

    def kill(self) -> None:
        """End all workers at once. Idempotent."""
        for worker in self._workers.values():
            send(worker, signal.SIGKILL)
            worker.wait()
        self._workers.clear()

    def _log(self, host: Host) -> Path:
        return self._folder / f"{host.name}.log"

    async def _kill(self, host: Host) -> None:
        worker = self._workers.pop(host.name)
        send(worker, signal.SIGKILL)
        worker.wait()
        await asyncio.sleep(self._dice.random() * 2)
        self.start()

    async def _pause(self, host: Host) -> None:
        send(self._workers[host.name], signal.SIGSTOP)
        await asyncio.sleep(LONGER)
        send(self._workers[host.name], signal.SIGCONT)

    async def _drain(self, host: Host) -> None:
        await self._end(host)
        await asyncio.sleep(self._dice.random())
        self.start()

    async def _end(self, host: Host) -> None:
        worker = self._workers.pop(host.name)
        if (code := worker.poll()) is None:
            send(worker, signal.SIGTERM)
            try:
                code = await asyncio.to_thread(worker.wait, 60)
            except TimeoutExpired:
                send(worker, signal.SIGKILL)
                code = worker.wait()
        if code not in (0, 3, AWAY, -signal.SIGTERM, 128 + signal.SIGTERM):  # 3: there are dead letters
            self._ended.append(f"{host.name} ended with {code} after SIGTERM")

    async def _cut_off(self, host: Host, address: str) -> None:
        host.cut_off(address)
        await asyncio.sleep(self._dice.choice((0.5, LONGER)))
        host.heal()


async def wait_until(reached: Callable[[], Awaitable[bool]], seconds: float) -> bool:
    """Return True once `reached`, and False if it is not within some seconds."""
    deadline = time.monotonic() + seconds
    while not await reached():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.5)
    return True
