"""The whole service as its users run it: a process on a workspace of simulated stores."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from skyferry.clock import SystemClock
from skyferry.ports import Outgoing
from skyferry.queues.sqlite.queue import SqliteQueue


class Rehearsal:
    """A workspace, its events, and the service as a process."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.folder, self.dice = folder, random.Random(7)
        for name in ("source", "destination"):
            (folder / name).mkdir()
        self.config = folder / "skyferry.yaml"
        self.config.write_text(yaml.safe_dump(config | {"workspace": str(folder)}))
        self.log = (folder / "log").open("ab")

    def put(self, key: str) -> None:
        path = self.folder / "source" / key
        path.parent.mkdir(exist_ok=True)
        fresh = self.folder / "fresh"
        fresh.write_bytes(self.dice.randbytes(self.dice.randrange(2048)))
        fresh.rename(path)

    def event(self, key: str, **metadata: object) -> bytes:
        return json.dumps(
            {
                "schemaVersion": "1.0.0",
                "eventId": str(uuid.UUID(int=self.dice.getrandbits(128), version=4)),
                "correlationId": str(uuid.UUID(int=self.dice.getrandbits(128), version=4)),
                "timestamp": datetime.now(UTC).isoformat(),
                "source": {"provider": "file", "bucket": "source", "key": key},
                "metadata": metadata,
            }
        ).encode()

    async def send(self, bodies: list[bytes]) -> None:
        queue = SqliteQueue(self.folder / "queue.db", "events", "test", SystemClock())
        for start in range(0, len(bodies), 500):
            await queue.send([Outgoing(body) for body in bodies[start : start + 500]])
        await queue.close()

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "skyferry", "run", "--config", str(self.config), "--until-idle"]
        return subprocess.Popen(command, stderr=self.log, stdout=self.log, cwd=self.folder)

    def records(self) -> Iterator[dict[str, object]]:
        for line in (self.folder / "log").read_bytes().splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                continue  # cut off by a kill

    def same(self) -> dict[str, str]:
        """What differs between source and destination."""
        source, destination = (
            {p.relative_to(d): p.read_bytes() for p in d.rglob("*") if p.is_file() and ".skyferry" not in p.parts}
            for d in (self.folder / "source", self.folder / "destination")
        )
        return {
            str(k): "missing" if k not in destination else "differs" for k in source if source[k] != destination.get(k)
        }
