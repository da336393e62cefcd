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
    """The answer to a claim: not now; claim again after `delay`."""

    transfer_id: str
    delay: float  # seconds from now
    busy: bool  # True = another worker leases the destination key; False = its retry is not due yet


@dataclass(frozen=True, slots=True)
class Done:
    """Applied and verified. Moves the placement of the destination key forward."""

    receipt: Receipt
    placement: Placement
    found: bool = False  # the destination had this version: nothing was written. Not kept in the ledger
    lost: tuple[str, ...] = ()  # what the source carries, and the destination cannot. Not kept in the ledger


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

    delay: float  # seconds from the settlement; 0 or less = at once
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
    """Returned without an attempt (shutdown, store down). Any worker may claim the transfer after `delay`."""

    delay: float = 0.0  # seconds from the settlement; 0 or less = at once


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

    A lease lasts `lease` seconds from the last `claim` or `renew` of its key, by the ledger's clock. The owner counts them
    by its own monotonic clock from before it called, so it stops before another can begin. A lease that has ended still
    belongs to its owner until another owner claims the key: a late `renew` or `settle` succeeds.

    `claim` and `renew` MAY be lost in a failure of the engine that also ends every process that could have a claim. If
    processes survive that failure, a lost claim MUST be noticed: `renew` and `settle` of it answer as for an old fence.
    """

    owner: str  # the name of this process in leases
    lease: float  # seconds

    async def claim(self, transfers: Sequence[Transfer]) -> list[Claim | Settled | Wait]:
        """Return one answer per transfer, in order.

        Settled: the transfer is settled. It is claimable again in these cases: it was skipped as `no_route`, and this
        configuration has the route; or it was done or skipped, and either a person asks for it or the key's placement is
        in none of the stores in the transfer's `identities`. Such a placement is not part of the claim either.

        Wait(busy=False): its retry is not due. Wait(busy=True): the lease of another owner covers the key. Nothing is
        recorded for it.

        Claim: recorded as CLAIMED, with the key's lease, in the same step. Of concurrent calls of several owners for one
        key, exactly one gets it. `fence` is larger than the fence of every earlier owner of the key, for ever; also after
        the lease was freed, after `prune`, and after a restart. It need not be the next number, so it may come from a
        sequence. `attempt` is the number of counted failures plus 1. `lost` grows by one if the transfer was CLAIMED by an
        owner whose lease ended without a settlement. `taken_over` is True for the first claim of the key by a new owner
        whose predecessor did not free it: what that one had begun may still take effect. `uploads` are all uploads saved
        for the key, by any owner, and not closed.

        A transfer whose dead letter was redriven is claimable again; its attempts count from 1.
        """

    async def renew(self, claims: Sequence[Claim]) -> list[Claim]:
        """Extend the leases. Return the claims that were lost to another owner, in order. A lease never becomes shorter."""

    async def keep(self, claims: Sequence[Claim]) -> None:
        """Let the leases of these keys end by time, although this process is about to end: `close` frees all others.

        Something that it has begun there may still take effect. The next owner of the key learns by `taken_over` that it was not
        freed. A ledger that frees the keys of a process as soon as it has ended MAY free these, too.
        """

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Record outcomes, each at most once. False: the fence is old, and nothing of that settlement is recorded.

        False also if the transfer is not CLAIMED, such as a settlement sent twice; with the fence of the lease and `last`
        it still frees the key. The fence is compared, and everything
        recorded, in one step: state, receipt or failure, placement, dead letter, closed uploads, and the end of the lease
        (`last`). A settlement MUST survive the failure of the engine: the message is acknowledged after it.

        Done replaces the placement. Its positions are merged with the old ones (the newest per scheme) if both are about
        the same source key. Retry and Released are due after their delay. Released counts neither as a failure nor as
        lost. Dead writes the dead letter in the same step. The rules are in `skyferry.ledgers.rules`, for all adapters.
        """
