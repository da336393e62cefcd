"""The harness that an adapter gives the suite, and the helpers of all cases."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import replace

import pytest

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
from skyferry.ports import Dead, Done, Filter, Ledger, Outcome, Retry, Settlement, Skipped

LEASE = 30.0  # seconds
ALL = Filter()


class LedgerHarness(ABC):
    """One fresh, empty ledger, and its clock.

    The cases use leases and delays of half a minute and more, so that a real server has time for the calls between. None
    waits in real time: `pass_time` makes the time pass. An adapter that reads its host's clock is given a manual one. An
    adapter on a server reads the server's clock. Either its statements add an offset that only tests set (such as a row of
    a table, or a key), or `pass_time` moves all stored times back: for the ledger, both are the same.
    """

    keeps_leases = True  # False: the keys of a process that has ended are free, also those that it keeps

    @abstractmethod
    async def open(self, owner: str, lease: float = LEASE) -> Ledger:
        """Open the ledger of another process on the same data. The harness closes it."""

    @abstractmethod
    async def pass_time(self, seconds: float) -> None:
        """Make time pass by the ledger's clock, for all processes that have it open."""

    @abstractmethod
    async def now(self) -> float:
        """Return the ledger's time in seconds since 1970, as it is stored in `TransferRow.updated_at`."""


class LedgerCases:
    """The fixtures of all cases."""

    @pytest.fixture
    async def one(self, harness: LedgerHarness) -> Ledger:
        """The ledger of a process."""
        return await harness.open("one")

    @pytest.fixture
    async def two(self, harness: LedgerHarness) -> Ledger:
        """The ledger of another process."""
        return await harness.open("two")


def transfer(name: str, key: str = "", source_key: str = "", route: str = "route") -> Transfer:
    """Return a transfer with all fields set. By default, both keys are derived from its name."""
    key = key or f"key/{name}"
    return Transfer(
        id=hashlib.blake2b(name.encode(), digest_size=16).hexdigest(),
        route=route,
        change=Change.CREATED,
        source=ObjectRef(Provider.AWS_S3, "source", source_key or key, "eu-west-1"),
        source_store="from",
        store="to",
        key=key,
        event_id=f"event-{name}",
        correlation_id=f"correlation-{name}",
        occurred_at=1_699_999_999.123,
        position=Position("s3-sequencer", "0001"),
        size=7,
        checksums=Checksums(crc32c="0a0b0c0d", md5="0" * 32),
        content_type="text/plain",
        max_retries=5,
        traceparent="00-1-2-01",
    )


def placement(claim: Claim, *positions: Position, deleted: bool = False) -> Placement:
    """Return the placement of a done transfer."""
    t = claim.transfer
    version = "" if deleted else "d1"
    source = replace(t.source, version="s1")
    return Placement(t.store, t.key, source, deleted, positions, t.occurred_at, version, t.id, 1_700_000_000.456)


def done(claim: Claim, *positions: Position, deleted: bool = False) -> Done:
    """Return the outcome of an applied transfer."""
    sums = Checksums("00000001", "0" * 64)
    at = Position("s3-sequencer", "0001")
    receipt = Receipt("s1", "d1", 7, sums, Checksums(md5="1" * 32), sums, at, 1_700_000_000.1, 1_700_000_000.2, 1)
    return Done(receipt, placement(claim, *positions, deleted=deleted))


def failure(attempt: int = 1, kind: str = "throttled", *, counts_as_attempt: bool = True) -> Failure:
    """Return a failed attempt."""
    return Failure(attempt, 1_700_000_000.75, kind, f"attempt {attempt} failed", counts_as_attempt)


def dead(kind: str = "permission_denied", at: float = 1_700_000_000.75, body: bytes = b"\xff\0body") -> Dead:
    """Return the outcome of a transfer that becomes a dead letter."""
    return Dead(replace(failure(1, kind), at=at), body, (("name", 'va"lue\0'),), "grant it", "queue")


async def claim(ledger: Ledger, *transfers: Transfer) -> list[Claim]:
    """Claim transfers, and assert that all claims succeed."""
    answers = await ledger.claim(transfers)
    assert all(isinstance(answer, Claim) for answer in answers), answers
    return [answer for answer in answers if isinstance(answer, Claim)]


async def settle(ledger: Ledger, held: Claim, outcome: Outcome, *, last: bool = True) -> bool:
    """Settle one claim. Return True if the outcome was recorded."""
    (recorded,) = await ledger.settle([Settlement(held, outcome, last)])
    return recorded


async def finish(ledger: Ledger, t: Transfer, outcome: Outcome | None = None) -> None:
    """Claim and settle a transfer, by default as done."""
    (held,) = await claim(ledger, t)
    assert await settle(ledger, held, outcome or done(held))


async def bring(ledger: Ledger, t: Transfer, state: State) -> None:
    """Bring a new transfer into a state."""
    match state:
        case State.CLAIMED:
            await claim(ledger, t)
        case State.RETRY:
            await finish(ledger, t, Retry(0.0, failure()))
        case State.DONE:
            await finish(ledger, t)
        case State.SKIPPED:
            await finish(ledger, t, Skipped("filtered"))
        case State.DEAD:
            await finish(ledger, t, dead())
        case State.DISCARDED:
            await finish(ledger, t, dead())
            await ledger.discard(ALL, [t.id])


__all__ = [
    "ALL",
    "LEASE",
    "LedgerCases",
    "LedgerHarness",
    "bring",
    "claim",
    "dead",
    "done",
    "failure",
    "finish",
    "placement",
    "settle",
    "transfer",
]
