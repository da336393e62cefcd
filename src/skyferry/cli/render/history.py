"""The history of one object, as `skyferry explain` prints it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field

from skyferry.frozen import dataclass
from skyferry.model import Change, Placement
from skyferry.ports import DeadLetter, Refusal, TransferRow


@dataclass(frozen=True, slots=True)
class RouteAnswer:
    """The answer of one route for an object that has no event."""

    source: str  # provider://bucket/key
    route: str = ""  # "" = the rule belongs to no single route
    to: str = ""  # store: key; "" = the route rejects it
    rule: str = ""  # the rule that rejects it

    def __str__(self) -> str:
        if self.to:
            return f"route {self.route} would copy {self.source} to {self.to}"
        return f"route {self.route} rejects {self.source}: {self.rule}" if self.route else f"{self.source}: {self.rule}"


@dataclass(frozen=True, slots=True)
class ObjectHistory:
    """Everything in the ledger about one key."""

    placements: Sequence[Placement] = ()  # the current objects at the destinations
    elsewhere: Sequence[Placement] = ()  # objects of other stores that had the names of the configured ones
    transfers: Sequence[TransferRow] = ()  # oldest first, with their failures
    letters: Sequence[DeadLetter] = ()
    refusals: Sequence[Refusal] = ()
    answers: Sequence[RouteAnswer] = field(default=())  # only if the ledger knows nothing, or only refusals

    @property
    def known(self) -> bool:
        """True if the ledger knows the key."""
        return bool(self.transfers or self.placements or self.elsewhere or self.letters or self.refusals)

    @property
    def only_refused(self) -> bool:
        """True if the ledger knows only that no route matched the creation of the object."""
        others = self.transfers or self.placements or self.elsewhere or self.letters
        return not others and any(refusal.change is Change.CREATED for refusal in self.refusals)
