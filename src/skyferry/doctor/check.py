"""What was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from skyferry.errors import SkyferryError
from skyferry.ports.inspection import Unknown

OUTAGE = "see that it can be reached from here and is up, then ask again"
REFUSED = "it is the other end that says so: see there"


class CheckState(StrEnum):
    """Of a check."""

    OK = "ok"
    WRONG = "wrong"
    UNKNOWN = "unknown"  # not tried, or we may not look


# Stable name -> what is checked.
WHAT: Mapping[str, str] = MappingProxyType(
    {
        "held": "no deletes wait for a decision",
        "reach": "it can be reached",
        "whole": "its file is whole",
        "identity": "who we are there",
        "settings": "the settings agree with what is there",
        "region": "region",
        "clock": "its clock agrees with ours",
        "list": "objects may be listed",
        "read": "objects may be read",
        "write": "objects may be written",
        "delete": "objects may be deleted",
        "retention": "nothing keeps objects from being replaced or deleted",
        "versioning": "versioning",
        "encryption": "encryption at rest",
        "receive": "messages may be received",
        "send": "dead letters may be sent",
        "setup": "how it is set up",
        "lease": "a lease lasts long enough",
        "copy-time": "a copy takes less time than a message can be held",
        "redrive": "the queue takes no message before Skyferry has given it up",
        "notified": "what lands in the bucket is told to a queue",
        "deletes": "what is deleted there is told to it, too",
        "sender": "the queue lets the bucket send",
        "event": "the event of a canary comes back",
        "delete-event": "so does that of its delete",
        "unrouted": "each event is of a bucket that a store is",
    }
)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at."""

    kind: Literal["store", "queue", "ledger", "route"]
    where: str  # its name in the configuration
    name: str  # of WHAT
    state: CheckState
    detail: str = ""
    hint: str = ""

    @property
    def what(self) -> str:
        """In words."""
        return WHAT[self.name]


@dataclass(frozen=True, slots=True)
class CheckSubject:
    """What is looked at; makes its checks."""

    kind: Literal["store", "queue", "ledger", "route"]
    name: str

    def ok(self, check: str, detail: str = "") -> Check:
        """As it should be."""
        return Check(self.kind, self.name, check, CheckState.OK, detail)

    def wrong(self, check: str, detail: str, hint: str) -> Check:
        """The routes cannot work so."""
        return Check(self.kind, self.name, check, CheckState.WRONG, detail, hint)

    def unknown(self, check: str, reason: str | Unknown, hint: str = "") -> Check:
        """Nothing against it was found, and nothing for it."""
        text = reason.reason if isinstance(reason, Unknown) else reason
        return Check(self.kind, self.name, check, CheckState.UNKNOWN, text, hint)

    def failed(self, check: str, error: SkyferryError) -> Check:
        """By this error."""
        return self.wrong(check, error.message, error.hint or (OUTAGE if error.outage else REFUSED))

    def told(self, check: str, fact: str | Unknown) -> Check:
        """Something to know, right as it is."""
        return self.unknown(check, fact) if isinstance(fact, Unknown) else self.ok(check, fact)
