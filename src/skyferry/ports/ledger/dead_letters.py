"""Dead letters: transfers and messages that were abandoned, kept until a person redrives or discards them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from skyferry.frozen import dataclass
from skyferry.model import Failure
from skyferry.ports.ledger.listing import Filter, Page


@dataclass(frozen=True, slots=True)
class DeadLetterRef:
    """A reference to one death of one letter. A letter that is redriven and dies again keeps its id but not its time."""

    id: str
    at: float  # seconds since 1970


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An abandoned transfer, or a message that could not be parsed."""

    id: str  # the transfer's id; for a message without an event, a hash of queue and message id
    at: float  # seconds since 1970
    queue: str
    reason: str  # kind of the error; dead letters are grouped by it
    message: str
    hint: str
    body: bytes
    attributes: tuple[tuple[str, str], ...]
    route: str = ""
    source: str = ""  # provider://bucket/key, for people
    key: str = ""  # destination key
    event_id: str = ""
    correlation_id: str = ""
    attempts: tuple[Failure, ...] = ()
    redriven_at: float | None = None  # set while it waits to be processed again

    @property
    def ref(self) -> DeadLetterRef:
        """The reference to this death."""
        return DeadLetterRef(self.id, self.at)


def parse_source_key(source: str) -> str:
    """Return the key in `DeadLetter.source`."""
    return source.partition("://")[2].partition("/")[2]


def parse_source_bucket(source: str) -> str:
    """Return provider://bucket of `DeadLetter.source`."""
    provider, slashes, rest = source.partition("://")
    return f"{provider}{slashes}{rest.partition('/')[0]}"


class DeadLetters(Protocol):
    """Dead letters for people: listing, redriving, discarding. `Claims.settle` writes those of transfers."""

    async def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Keep messages that could not be parsed. Idempotent by id."""

    async def get_dead_letter(self, letter_id: str) -> DeadLetter | None:
        """Return one letter; None if there is none."""

    async def list_dead_letters(self, where: Filter, cursor: str = "", limit: int = 100) -> Page[DeadLetter]:
        """Return a page of letters, newest first. Redriven letters are included until they are settled."""

    async def count_dead_letters(self) -> list[tuple[str, str, int]]:
        """Return (route, reason, count), the largest count first."""

    async def count_unrouted(self, limit: int = 20) -> list[tuple[str, int]]:
        """Return (provider://bucket, count) of letters with the reason `unrouted_bucket`, the largest first. Cheap."""

    async def redrive(self, where: Filter, ids: Sequence[str] | None = None) -> int:
        """Mark letters for processing again, and make their transfers claimable. `ids` narrows the filter. Return the count."""

    async def discard(self, where: Filter, ids: Sequence[str] | None = None) -> int:
        """Delete letters; their transfers become DISCARDED. Letters being processed stay. Return the count."""


class Purpose(StrEnum):
    """Purposes for which a letter is leased."""

    REDRIVE = "redrive"  # letters marked by `redrive`; a finished one is deleted
    PUBLISH = "publish"  # letters not sent to the dead-letter sink yet and not redriven; a finished one stays


class LetterLeases(Protocol):
    """Leases on letters, one kind for each purpose. A letter whose lease ends is handed out again.

    A reference is valid for one death. One that is out of date (the letter was redriven or died again since) is ignored.
    """

    async def take_letters(self, purpose: Purpose, limit: int, lease: float) -> list[DeadLetter]:
        """Lease up to `limit` letters that are due and not leased, for `lease` seconds, those due the longest first."""

    async def finish_letters(self, purpose: Purpose, letters: Sequence[DeadLetterRef]) -> None:
        """Record that the purpose is fulfilled. Idempotent.

        For REDRIVE, a letter that died again is a new letter and stays, even if it was redriven again already.
        """

    async def reschedule_letters(self, purpose: Purpose, letters: Sequence[DeadLetterRef], delay: float) -> None:
        """Set the lease to end `delay` seconds from now, to extend it or to end it early. Idempotent."""

    async def count_redriven(self) -> int:
        """Return how many letters are being processed again or wait for it. Cheap."""
