"""A server over a memory ledger, asked in process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import httpx
from prometheus_client import CollectorRegistry

from skyferry.clock import SystemClock
from skyferry.config.settings import ServerSettings
from skyferry.events import native
from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.model import (
    Change,
    Checksums,
    Claim,
    Failure,
    ObjectRef,
    Placement,
    Position,
    Provider,
    Receipt,
    State,
    Transfer,
)
from skyferry.ports import Dead, Depth, Done, Outcome, Outgoing, Settlement, WorkerState
from skyferry.server import create_app
from skyferry.status import HealthCheck, Readiness, Status, Submission

FAILURE = Failure(attempt=1, at=1795418175.5, kind="permission_denied", message="no", counts_as_attempt=True)
RECEIPT = Receipt("v1", "w1", 9, Checksums(crc32c="aa"), Checksums(), Checksums(crc32c="aa"), None, 1.0, 2.5, 1)


def transfer(number: int, route: str = "photos") -> Transfer:
    source = ObjectRef(Provider.FILE, "source", f"in/{number}", version="v1")
    return Transfer(
        id=f"{number:032x}",
        route=route,
        change=Change.CREATED,
        source=source,
        source_store="src",
        store="dst",
        key=f"out/{number}",
        event_id=f"e-{number}",
        correlation_id=f"c-{number}",
        occurred_at=1795418175.25,
        position=Position("s3-sequencer", "00ab"),
    )


NOW = Status(
    version="1",
    started_at=1795418175.5,
    state="running",
    in_flight=2,
    queues={"main": Depth(5, 1, -1, 12.5)},
    transfers={State.DONE: 7},
    dead_letters=1,
    breakers={"dst": "open"},
    concurrency={"dst": 64},
    routes=("photos",),
    receives={"main": 1.5},
    oldest={"photos": 61.0},
    checks=(HealthCheck("ledger", "ledger", "ok"),),
    workers={WorkerState.RUNNING: 2, WorkerState.DRAINING: 1},
    roles={"gauges": True, "deletes": False},
)


@dataclass
class Service:
    """What the server sees of a service."""

    ledger: MemoryLedger = field(default_factory=lambda: MemoryLedger("me", SystemClock()))
    sent: list[bytes] = field(default_factory=list)
    accepted: list[tuple[str, Outgoing]] = field(default_factory=list)
    checks: list[HealthCheck] = field(default_factory=list)
    fails: Exception | None = None
    now: Status = NOW

    async def submit(self, bodies: Sequence[bytes]) -> list[Submission]:
        if self.fails:
            raise self.fails
        self.sent += bodies
        events = [native.parse_event(body) for body in bodies]
        return [Submission(e.event_id, e.correlation_id, (f"t-{e.source.key}",)) for e in events]

    async def accept(self, queue: str, messages: Sequence[Outgoing]) -> None:
        if self.fails:
            raise self.fails
        self.accepted += [(queue, message) for message in messages]

    async def ready(self) -> Readiness:
        return Readiness(tuple(self.checks))

    async def status(self) -> Status:
        if self.fails:
            raise self.fails
        return self.now

    async def settle(self, wanted: Transfer, outcome: Outcome | None = None) -> None:
        """Put a transfer into the ledger: done, or with this outcome."""
        (claim,) = await self.ledger.claim([wanted])
        assert isinstance(claim, Claim)
        assert all(await self.ledger.settle([Settlement(claim, outcome or done(wanted))]))

    async def bury(self, number: int, body: bytes = b"{}", route: str = "photos") -> None:
        """Put a dead letter into the ledger."""
        dead = Dead(FAILURE, body, (("a", "b"),), hint="grant it", queue="main")
        await self.settle(transfer(number, route), dead)


def done(wanted: Transfer) -> Done:
    placement = Placement(wanted.store, wanted.key, wanted.source, False, (), wanted.occurred_at, "w1", wanted.id, 2.5)
    return Done(replace(RECEIPT, position=wanted.position), placement)


def connect(
    service: Service, settings: ServerSettings | None = None, host: str = "localhost:8080"
) -> httpx.AsyncClient:
    """A client whose requests do not leave the process; a 500 is an answer, not an exception."""
    app = create_app(service, settings or ServerSettings(), CollectorRegistry())
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=f"http://{host}")
