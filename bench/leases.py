"""Messages in flight for longer than their lease: the whole service on SQS and Pub/Sub, with slow and repeated copies.

    python -m bench.leases [--events 5000] [--longest 20] [--transfers 512] [--queue sqs] [--queue pubsub]

Each event is sent 1.5 times on average, out of order. The lease is 5 seconds on SQS and 10 on Pub/Sub, and copies take 1 to
20 seconds (a simulated store). A message whose lease expires is delivered again. The deliveries are those that the server
counts (ApproximateReceiveCount, delivery_attempt), read from its answers. Each object must be copied exactly once, and each
message acknowledged.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench._delivery_counts import CountedQueue, pubsub, sqs

from skyferry.testing.servers import ServerMissing, localstack
from skyferry.testing.servers.pubsub import pubsub as emulator

LEASES = {"sqs": 5, "pubsub": 10}  # seconds
KEYS = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
ROW = "{:<8}" + 9 * "{:>11}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The figures of one run."""

    sent: int
    deliveries: int  # according to the server
    expired: int  # deliveries after a lease expired
    done: int  # transfers recorded as done
    arrived: int  # objects at the destination, with the content of the source
    left: int  # messages that were never acknowledged
    dead: int
    seconds: float


class Load:
    """The service with its workspace and its queue."""

    def __init__(self, folder: Path, queue: CountedQueue, lease: int, events: int) -> None:
        self.folder, self.queue, self.lease, self.events = folder, queue, lease, events

    async def send(self) -> int:
        """Send the events, half of them twice, shuffled. Return the number of messages."""
        dice = random.Random(7)
        for name in ("source", "destination"):
            (self.folder / name).mkdir()
        for n in range(self.events):
            (self.folder / "source" / f"k{n}").write_text(str(n))
        bodies = [self._event(f"k{n}") for n in range(self.events)]
        bodies += dice.sample(bodies, self.events // 2)
        dice.shuffle(bodies)
        await self.queue.send(bodies)
        return len(bodies)

    async def run(self, longest: float, transfers: int, limit: float) -> Outcome:
        """Run the service until it is idle, or for `limit` seconds."""
        sent = await self.send()
        config = self.folder / "skyferry.yaml"
        config.write_text(json.dumps(self._config(longest, transfers)))
        command = [sys.executable, "-m", "skyferry", "run", "--config", str(config), "--until-idle"]
        began = time.perf_counter()
        with (self.folder / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log, env=os.environ | KEYS)
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), limit)
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                await process.wait()
        return self._outcome(sent, time.perf_counter() - began)

    def _outcome(self, sent: int, seconds: float) -> Outcome:
        said, counts = Counter[str](), self.queue.counts
        for record in self._records():
            said[record["event"]] += record.get("count", 1)
        whole = sum(
            path.read_text() == path.name[1:] for path in (self.folder / "destination").iterdir() if path.is_file()
        )
        dead = said["transfer.dead"] + said["message.dead"]
        left = sent - len(counts.acked)
        return Outcome(sent, counts.deliveries, counts.expired, said["transfer.done"], whole, left, dead, seconds)

    def _records(self) -> Iterator[dict[str, Any]]:
        for line in (self.folder / "log").read_bytes().splitlines():
            if line.startswith(b"{"):
                yield json.loads(line)

    def _event(self, key: str) -> str:
        return json.dumps(
            {
                "schemaVersion": "1.0.0",
                "eventId": str(uuid.uuid4()),
                "correlationId": str(uuid.uuid4()),
                "timestamp": datetime.now(UTC).isoformat(),
                "source": {"provider": "file", "bucket": "source", "key": key},
            }
        )

    def _config(self, longest: float, transfers: int) -> dict[str, Any]:
        slow = {"latency": 1.0, "jitter": longest - 1.0}
        return {
            "workspace": str(self.folder),
            "stores": {
                "source": {"url": "file://source", "watch": False},
                "destination": {"url": "sim://destination", "simulator": slow},
            },
            "routes": [{"name": "all", "from": "source", "to": "destination"}],
            "queues": [{"name": "events", "url": self.queue.url, "lease": self.lease}],
            "limits": {"transfers": transfers, "max_in_flight_messages": 4 * transfers},
            "server": {"listen": "127.0.0.1:0"},
            "log": {"format": "json", "level": "debug"},
        }


async def measure(kind: str, events: int, longest: float, transfers: int) -> None:
    """Measure one queue and print a row."""
    lease = LEASES[kind]
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        if kind == "sqs":
            queue = await stack.enter_async_context(sqs(stack.enter_context(localstack(("sqs",))).url, lease))
        else:
            queue = await stack.enter_async_context(pubsub(stack.enter_context(emulator()), lease))
        seen = await Load(Path(folder), queue, lease, events).run(longest, transfers, 3600)
    counts = (seen.sent, seen.deliveries, seen.expired, seen.done, seen.arrived, seen.left, seen.dead)
    print(ROW.format(kind, f"{lease} s", *counts, f"{seen.seconds:.0f}"), flush=True)


async def main(kinds: list[str], events: int, longest: float, transfers: int) -> None:
    """Print the table."""
    print(f"{events} events, copies of 1 to {longest:g} s, {transfers} at a time")
    print(ROW.format("", "lease", "sent", "delivered", "expired", "done", "arrived", "left", "dead", "seconds"))
    for kind in kinds:
        try:
            await measure(kind, events, longest, transfers)
        except ServerMissing as missing:
            print(missing)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=5000)
    parser.add_argument("--longest", type=float, default=20.0)
    parser.add_argument("--transfers", type=int, default=512)
    parser.add_argument("--queue", choices=LEASES, action="append")
    given = parser.parse_args()
    asyncio.run(main(given.queue or list(LEASES), given.events, given.longest, given.transfers))
