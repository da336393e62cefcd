"""Messages that are held for longer than their visibility: the whole service on SQS, with slow and repeated copies.

    python -m bench.held [--events 5000] [--longest 20] [--transfers 512]

Each event is sent 1.5 times on average, out of order; visibility is 5 seconds, copies take 1 to 20 (a simulated store).
Every message should be received exactly once, for one that expires while it is held comes again; each object is to be
copied exactly once; and the queue is to be empty in the end.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]  # no stubs are published with it

from skyferry.testing.servers import Missing, localstack

VISIBILITY = 5  # seconds
KEYS = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was seen."""

    sent: int
    received: int
    done: int  # transfers recorded as done
    arrived: int  # objects at the destination, with the content of the source
    left: int  # messages in the queue
    dead: int
    seconds: float


class Load:
    """A workspace, a queue, and the service between them."""

    def __init__(self, folder: Path, endpoint: str, events: int) -> None:
        self.folder, self.endpoint, self.events = folder, endpoint, events
        self.client = boto3.client(
            "sqs",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="any",
            aws_secret_access_key="any",
        )
        self.queue = f"held-{uuid.uuid4().hex[:8]}"
        attributes = {"VisibilityTimeout": str(VISIBILITY)}
        self.url = self.client.create_queue(QueueName=self.queue, Attributes=attributes)["QueueUrl"]

    def send(self) -> int:
        """Half of them twice, shuffled; returns how many."""
        dice = random.Random(7)
        for name in ("source", "destination"):
            (self.folder / name).mkdir()
        for n in range(self.events):
            (self.folder / "source" / f"k{n}").write_text(str(n))
        bodies = [self._event(f"k{n}") for n in range(self.events)]
        bodies += dice.sample(bodies, self.events // 2)
        dice.shuffle(bodies)
        for start in range(0, len(bodies), 10):
            entries = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies[start : start + 10])]
            self.client.send_message_batch(QueueUrl=self.url, Entries=entries)
        return len(bodies)

    def run(self, longest: float, transfers: int, limit: float) -> Outcome:
        """Until it is idle, or for `limit` seconds."""
        sent = self.send()
        config = self.folder / "skyferry.yaml"
        config.write_text(json.dumps(self._config(longest, transfers)))
        command = [sys.executable, "-m", "skyferry", "run", "--config", str(config), "--until-idle"]
        began = time.perf_counter()
        with (self.folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | KEYS)
            try:
                process.wait(limit)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGTERM)
                process.wait()
        seconds = time.perf_counter() - began
        said = Counter[str]()
        for record in self._records():
            said[record["event"]] += record.get("count", 1)
        whole = sum(
            path.read_text() == path.name[1:] for path in (self.folder / "destination").iterdir() if path.is_file()
        )
        dead = said["transfer.dead"] + said["message.dead"]
        return Outcome(sent, said["queue.received"], said["transfer.done"], whole, self._left(), dead, seconds)

    def _left(self) -> int:
        names = [f"ApproximateNumberOfMessages{kind}" for kind in ("", "NotVisible", "Delayed")]
        found = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)

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
        queue = f"sqs://{self.queue}?region=us-east-1&endpoint={self.endpoint}&identity=static"
        slow = {"latency": 1.0, "jitter": longest - 1.0}
        return {
            "workspace": str(self.folder),
            "stores": {
                "source": {"url": "file://source", "watch": False},
                "destination": {"url": "sim://destination", "simulator": slow},
            },
            "routes": [{"name": "all", "from": "source", "to": "destination"}],
            "queues": [{"name": "events", "url": queue, "lease": VISIBILITY}],
            "limits": {"transfers": transfers, "held_messages": 4 * transfers},
            "server": {"listen": "127.0.0.1:0"},
            "log": {"format": "json", "level": "debug"},
        }


def main(events: int, longest: float, transfers: int) -> None:
    """Print the table."""
    with localstack(("sqs",)) as server, tempfile.TemporaryDirectory() as folder:
        outcome = Load(Path(folder), server.url, events).run(longest, transfers, 3600)
    print(f"{events} events, copies of 1 to {longest:g} s, visibility {VISIBILITY} s, {transfers} at a time")
    print("sent received done arrived left dead seconds")
    print(*(getattr(outcome, name) for name in ("sent", "received", "done", "arrived", "left", "dead")), end=" ")
    print(f"{outcome.seconds:.0f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=5000)
    parser.add_argument("--longest", type=float, default=20.0)
    parser.add_argument("--transfers", type=int, default=512)
    given = parser.parse_args()
    try:
        main(given.events, given.longest, given.transfers)
    except Missing as missing:
        print(missing)
