"""Claims: the permission to work on a destination key, and the outcomes that end it. The hot path of the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from skyferry.frozen import dataclass
from skyferry.model import Claim, Failure, Placement, Position, Receipt, State, Transfer


@dataclass(frozen=True, slots=True)
class Settled:
    """The answer to a claim: no work is left; acknowledge the message."""

    transfer_id: str
    state: State
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Wait:
    """The answer to a claim: not now; claim again at `until`."""

    transfer_id: str
    until: float  # seconds since 1970
    busy: bool  # True = another worker leases the destination key; False = its retry is not due yet


@dataclass(frozen=True, slots=True)
class Done:
    """Applied and verified. Moves the placement of the destination key forward."""

    receipt: Receipt
    placement: Placement


@dataclass(frozen=True, slots=True)
class Skipped:
    """Nothing to do, for one of these reasons.

    superseded, current, gone, deleted, filtered, foreign, loop, hops, ignored, no_route, marker.

    `positions` (of the event, of the version seen) move the placement forward if it is about the same source.
    """

    reason: str
    positions: tuple[Position, ...] = ()


@dataclass(frozen=True, slots=True)
class Retry:
    """Failed; to be retried."""

    at: float  # seconds since 1970
    failure: Failure


@dataclass(frozen=True, slots=True)
class Dead:
    """Abandoned. `body` and `attributes` are those of the message, so that a redrive can process it again."""

    failure: Failure
    body: bytes
    attributes: tuple[tuple[str, str], ...]
    hint: str = ""
    queue: str = ""  # where the message came from


@dataclass(frozen=True, slots=True)
class Released:
    """Returned without an attempt (shutdown, store down). Any worker may claim the transfer from `at` on."""

    at: float  # seconds since 1970


Outcome = Done | Skipped | Retry | Dead | Released


@dataclass(frozen=True, slots=True)
class Settlement:
    """The record that ends one claim."""

    claim: Claim
    outcome: Outcome
    last: bool = True  # frees the destination key; False = the same worker has more transfers of the key
    closed: tuple[str, ...] = ()  # ids of finished or aborted uploads to this key, to be forgotten


class Claims(Protocol):
    """Leases on destination keys (store and key), fenced.

    One owner works on a key at a time. That owner may claim several transfers of the key, at once or one after the other,
    and gets the same fence for all. The engine runs them one by one.

    `claim` and `renew` MAY be lost in a power failure that also ends every process that could have a claim.
    """

    owner: str  # the name of this process in leases
    lease: float  # seconds

    async def claim(self, transfers: Sequence[Transfer]) -> list[Claim | Settled | Wait]:
        """Return one answer per transfer, in order.

        Settled: the transfer is settled. It is claimable again in these cases: it was skipped as `no_route`, and this
        configuration has the route; or it was done or skipped, and either a person asks for it or the key's placement is
        in none of the stores in the transfer's `identities`. Such a placement is not part of the claim either.

        Wait(busy=False): its retry is not due. Wait(busy=True): the lease of another live owner covers the key.

        Claim: recorded as CLAIMED. `fence` is larger than the fence of every earlier owner of the key. `attempt` is the
        number of counted failures plus 1. `lost` grows by one if the transfer was CLAIMED by an owner whose lease ended
        without a settlement. `uploads` are all uploads saved for the key, by any owner, and not closed.

        A transfer whose dead letter was redriven is claimable again; its attempts count from 1.
        """

    async def renew(self, claims: Sequence[Claim]) -> list[Claim]:
        """Extend the leases. Return the claims that were lost to another owner."""

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Record outcomes, each at most once. False: the fence is old, and nothing of that settlement is recorded.

        Done replaces the placement. Its positions are merged with the old ones (the newest per scheme) if both are about
        the same source key. Released counts neither as a failure nor as lost. Dead writes the dead letter in the same step.
        """
