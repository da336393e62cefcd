"""The results of checks."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from skyferry.errors import SkyferryError
from skyferry.frozen import dataclass
from skyferry.ports.inspection import Unknown

OUTAGE = "Make sure that it is up and reachable from here, then repeat the check."
FIRST_RUN = "The first `skyferry run` creates it."
REFUSED = "Look up this error in the documentation of the provider."


class CheckState(StrEnum):
    """The state of a check."""

    OK = "ok"
    WRONG = "wrong"
    UNKNOWN = "unknown"  # not tried, or not permitted to look


# Stable name -> the claim that is checked.
WHAT: Mapping[str, str] = MappingProxyType(
    {
        "held": "no deletes wait for approval",
        "reach": "reachable",
        "whole": "the records are intact",
        "usable": "the ledger can be used",
        "identity": "identity",
        "settings": "the settings match the provider",
        "region": "region",
        "clock": "the clocks agree",
        "list": "objects can be listed",
        "read": "objects can be read",
        "write": "objects can be written",
        "promises": "the service does what Skyferry relies on",
        "service": "service",
        "limits": "shared limits",
        "delete": "objects can be deleted",
        "retention": "no retention blocks replacing or deleting objects",
        "versioning": "versioning",
        "encryption": "encryption at rest",
        "receive": "messages can be received",
        "send": "dead letters can be sent",
        "setup": "setup",
        "lease": "the lease is long enough",
        "copy-time": "a copy ends before the longest lease of a message",
        "redrive": "the redrive policy leaves enough receives for retries",
        "notified": "the bucket notifies a queue of new objects",
        "deletes": "the bucket notifies it of deletes",
        "sender": "the queue accepts messages of the bucket",
        "event": "the event of a canary arrives",
        "delete-event": "the event of its delete arrives",
        "stores": "the names of stores mean the same as before",
        "workers": "the workers have the same routes",
        "unrouted": "all events are of configured buckets",
    }
)


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check."""

    kind: Literal["store", "queue", "ledger", "route"]
    where: str  # its name in the configuration
    name: str  # of WHAT
    state: CheckState
    detail: str = ""
    hint: str = ""

    @property
    def what(self) -> str:
        """The claim, for people."""
        return WHAT[self.name]


@dataclass(frozen=True, slots=True)
class CheckSubject:
    """The store, queue, ledger or route under check; makes its results."""

    kind: Literal["store", "queue", "ledger", "route"]
    name: str

    def ok(self, check: str, detail: str = "") -> Check:
        """The claim holds."""
        return Check(self.kind, self.name, check, CheckState.OK, detail)

    def wrong(self, check: str, detail: str, hint: str) -> Check:
        """The claim is false, so the routes cannot work."""
        return Check(self.kind, self.name, check, CheckState.WRONG, detail, hint)

    def unknown(self, check: str, reason: str | Unknown, hint: str = "") -> Check:
        """The claim is neither proven nor disproven."""
        text = reason.reason if isinstance(reason, Unknown) else reason
        return Check(self.kind, self.name, check, CheckState.UNKNOWN, text, hint)

    def failed(self, check: str, error: SkyferryError) -> Check:
        """The check failed with this error."""
        return self.wrong(check, error.message, error.hint or (OUTAGE if error.outage else REFUSED))

    def report(self, check: str, fact: str | Unknown) -> Check:
        """Report a fact that is neither right nor wrong."""
        return self.unknown(check, fact) if isinstance(fact, Unknown) else self.ok(check, fact)
