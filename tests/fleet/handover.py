"""A large object that one worker begins to copy and another finishes, each with folders and a way to the destination of its own."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import secrets
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import boto3  # type: ignore[import-untyped]  # no stubs are published with it
import yaml
from aiohttp import web

from skyferry.config.load import load
from skyferry.events.native import encode_event
from skyferry.model import Change, ObjectEvent, ObjectRef, Provider
from skyferry.ports import Outgoing
from skyferry.testing.servers import PostgresServer, RadosGateway, RedisServer
from skyferry.testing.servers.proxy import Exchange, Fault, FaultProxy
from skyferry.wiring.opener import Opener

KEY = "large.bin"
MIB = 2**20
PART = 8 * MIB
AT_ONCE = 4  # parts
CHANGES = {"PUT", "POST", "DELETE"}
PATIENCE = 600.0  # seconds; a test fails after them


@dataclass(frozen=True, slots=True)
class Engine:
    """The URLs of a ledger and a queue, and what their users need."""

    ledger: str
    queue: str
    env: dict[str, str]


def on_postgresql(server: PostgresServer) -> Engine:
    """Return a new database."""
    url = f"postgresql://{server.user}@{server.address}/{server.create_database()}"
    return Engine(f"{url}?sslmode=disable", f"{url}/events?sslmode=disable", {"PGPASSWORD": server.password})


def on_redis(server: RedisServer) -> Engine:
    """Return new keys."""
    name = f"handover-{secrets.token_hex(4)}"
    return Engine(f"redis://{server.address}/{name}", f"redis://{server.address}/{name}-events", {})


class Gate(FaultProxy):
    """A proxy in front of the destination. Once `limit` parts have passed, it keeps the next ones for ever."""

    def __init__(self, upstream: str, limit: float) -> None:
        super().__init__(upstream)
        self._left, self.kept = limit, 0

    async def _forward(
        self, request: web.BaseRequest, exchange: Exchange, fault: Fault, body: bytes
    ) -> web.StreamResponse:
        if _part_of(exchange) is not None:
            if self._left <= 0:
                self.kept += 1
                await asyncio.Event().wait()
            self._left -= 1
        return await super()._forward(request, exchange, fault, body)

    @property
    def parts(self) -> dict[int, int]:
        """The number of times that each part was sent."""
        numbers = [number for exchange in self.exchanges if (number := _part_of(exchange)) is not None]
        return {number: numbers.count(number) for number in numbers}

    @property
    def stored(self) -> set[int]:
        """The parts that the destination has confirmed."""
        return {n for exchange in self.exchanges if (n := _part_of(exchange)) is not None and exchange.status == 200}

    @property
    def sent(self) -> int:
        """The bytes of all parts."""
        return sum(exchange.received for exchange in self.exchanges if _part_of(exchange) is not None)

    def changes(self, start: int = 0) -> list[tuple[str, str]]:
        """Return method and target of each request that changes the destination, from a position on."""
        return [(e.method, e.target) for e in self.exchanges[start:] if e.method in CHANGES]


def _part_of(exchange: Exchange) -> int | None:
    match = re.search(r"[?&]partNumber=(\d+)", exchange.target)
    return int(match[1]) if match and exchange.method == "PUT" else None


class Worker:
    """One worker: its process, its folder, and its proxy."""

    def __init__(self, scene: Handover, name: str, limit: float) -> None:
        self.proxy = Gate(scene.endpoint, limit)
        self.folder = scene.folder / name
        self._scene = scene

    async def __aenter__(self) -> Self:
        await self.proxy.__aenter__()
        self.folder.mkdir()
        config = self.folder / "skyferry.yaml"
        config.write_text(yaml.safe_dump(self._scene.config(self.folder, self.proxy.url)))
        command = (sys.executable, "-m", "skyferry", "run", "--no-live", "--config", str(config))
        env = os.environ | self._scene.env
        with (self.folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command, cwd=self.folder, env=env, stdout=log, stderr=log
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self.proxy.__aexit__(None, None, None)

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    async def end(self, number: signal.Signals) -> None:
        """Send a signal, and wait for the end."""
        self.send(number)
        await asyncio.wait_for(self._process.wait(), PATIENCE)

    async def reach(self, reached: Callable[[], bool]) -> None:
        """Wait until something is reached."""
        end = time.monotonic() + PATIENCE
        while not reached():
            assert self._process.returncode is None, f"it ended:\n{self.log}"
            assert time.monotonic() < end, f"not reached:\n{self.log}"
            await asyncio.sleep(0.01)

    @property
    def log(self) -> str:
        """The log so far."""
        return (self.folder / "log").read_text()


class Handover:
    """One object at the source, and a queue that announces it."""

    def __init__(self, folder: Path, gateway: RadosGateway, engine: Engine, lease: float) -> None:
        self.folder, self.endpoint, self.lease = folder, gateway.url, lease
        keys = {"AWS_ACCESS_KEY_ID": gateway.access_key, "AWS_SECRET_ACCESS_KEY": gateway.secret_key}
        self.env = keys | engine.env
        self._engine = engine
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=gateway.url,
            region_name="us-east-1",
            aws_access_key_id=gateway.access_key,
            aws_secret_access_key=gateway.secret_key,
        )
        self.source, self.destination = (f"bucket-{secrets.token_hex(6)}" for _ in range(2))

    @asynccontextmanager
    async def worker(self, name: str, limit: float = float("inf")) -> AsyncIterator[Worker]:
        """Start a worker. Its destination confirms so many parts only."""
        async with Worker(self, name, limit) as worker:
            yield worker

    async def prepare(self, path: Path) -> None:
        """Make the buckets, upload the file, and announce it."""
        for bucket in (self.source, self.destination):
            await asyncio.to_thread(self.client.create_bucket, Bucket=bucket)
        await self.replace(path)

    async def replace(self, path: Path) -> None:
        """Upload a file as the source object, and announce it."""
        await asyncio.to_thread(self.client.upload_file, str(path), self.source, KEY)
        config = self.folder / "sender.yaml"
        config.write_text(yaml.safe_dump(self.config(self.folder, self.endpoint)))
        opener = Opener(load(config, self.env), env=self.env)
        queue = opener.queue("events")
        event = ObjectEvent(
            event_id=str(uuid.uuid4()),
            change=Change.CREATED,
            source=ObjectRef(Provider.S3_COMPATIBLE, self.source, KEY),
            occurred_at=time.time(),
            correlation_id=str(uuid.uuid4()),
        )
        await queue.send([Outgoing(encode_event(event))])
        await queue.close()
        await opener.close()

    def config(self, folder: Path, destination: str) -> dict[str, Any]:
        """Return the configuration of a worker."""
        ends = {"source": (self.source, self.endpoint), "destination": (self.destination, destination)}
        stores = {
            name: {
                "url": f"s3://{bucket}",
                "endpoint": endpoint,
                "service": "ceph",
                "identity": {"kind": "static"},
                "allow_http": True,
            }
            for name, (bucket, endpoint) in ends.items()
        }
        lease = f"{self.lease}s"
        return {
            "workspace": str(folder),
            "stores": stores,
            "routes": [{"name": "all", "from": "source", "to": "destination"}],
            "queues": [{"name": "events", "url": self._engine.queue, "lease": lease, "allow_http": True}],
            "ledger": {"url": self._engine.ledger, "lease": lease, "allow_http": True},
            "limits": {"part_size": PART, "part_concurrency": AT_ONCE, "multipart_threshold": 1},
            "drain": "1s",
            "server": {"listen": "127.0.0.1:0"},
            "log": {"format": "json", "level": "info"},
        }

    def has(self, path: Path) -> bool:
        """Return True if the destination has the content of a file."""
        found = self.client.list_objects_v2(Bucket=self.destination).get("Contents", [])
        if [item["Key"] for item in found] != [KEY] or found[0]["Size"] != path.stat().st_size:
            return False
        body = self.client.get_object(Bucket=self.destination, Key=KEY)["Body"]
        sha256 = hashlib.sha256()
        for chunk in body.iter_chunks(MIB):
            sha256.update(chunk)
        with path.open("rb") as file:
            return sha256.digest() == hashlib.file_digest(file, "sha256").digest()

    def uploads(self) -> list[str]:
        """Return the ids of all uploads that are open."""
        found = self.client.list_multipart_uploads(Bucket=self.destination).get("Uploads", [])
        return [upload["UploadId"] for upload in found]


def is_done(worker: Worker) -> bool:
    """Return True once a worker has recorded the copy."""
    return '"transfer.done"' in worker.log


def aborted(worker: Worker) -> list[str]:
    """Return the ids of the uploads that a worker has aborted."""
    queries = [parse_qs(urlsplit(target).query) for method, target in worker.proxy.changes() if method == "DELETE"]
    return [query["uploadId"][0] for query in queries if "uploadId" in query]
