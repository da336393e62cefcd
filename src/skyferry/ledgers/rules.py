"""Decisions that all ledgers share. Pure."""

from __future__ import annotations

from dataclasses import replace

from skyferry.errors import NotFound
from skyferry.model import Failure, Placement, State, Transfer
from skyferry.ports import Dead, DeadLetter, Done, Outcome, Released, Retry, Settled, Skipped, Wait
from skyferry.ports.ledger.held_deletes import Decision

NO_ROUTE = "no_route"  # skipped because the configuration lacked the route; claimable once it has it
UNROUTED = "unrouted_bucket"
DECIDED_FROM: dict[Decision, tuple[Decision, ...]] = {"approved": ("held", "rejected"), "rejected": ("held",)}
COUNTED = (State.CLAIMED, State.DONE, State.SKIPPED)  # states whose last attempt counts but is no failure


def refuse_claim(
    transfer: Transfer,
    state: State,
    reason: str,
    due_in: float | None,
    leased_for: float,
    placement: Placement | None = None,
) -> Settled | Wait | None:
    """Return the refusal of a claim; None if it is granted. `leased_for` are the seconds left of another owner's lease, or 0."""
    transfer_id = transfer.id
    moved = placement is not None and not placement.is_in(transfer.identities)
    reopened = state in (State.DONE, State.SKIPPED) and (moved or transfer.asked or reason == NO_ROUTE)
    if state.settled and not reopened:
        return Settled(transfer_id, state, reason)
    if state is State.RETRY and due_in is not None and due_in > 0:
        return Wait(transfer_id, due_in, busy=False)
    return refuse_busy(transfer_id, leased_for)


def refuse_busy(transfer_id: str, leased_for: float) -> Wait | None:
    """Return the refusal if another owner leases the destination key."""
    return Wait(transfer_id, leased_for, busy=True) if leased_for > 0 else None


def apply_outcome(outcome: Outcome) -> tuple[State, str, float | None, Failure | None]:
    """Return the state after an outcome, its reason, the seconds until it is due again, and the failure to record."""
    match outcome:
        case Done():  # first, for most are these
            return State.DONE, "", None, None
        case Retry(delay=delay, failure=failure):
            return State.RETRY, failure.kind, delay, failure
        case Released(delay=delay):
            return State.RETRY, "", delay, None
        case Dead(failure=failure):
            return State.DEAD, failure.kind, None, failure
        case Skipped(reason=reason):
            return State.SKIPPED, reason, None, None


def select_placement(placement: Placement | None, transfer: Transfer) -> Placement | None:
    """Return the placement if it is in the store of the transfer, else None."""
    return placement if placement is not None and placement.is_in(transfer.identities) else None


def merge_placements(new: Placement, old: Placement | None) -> Placement:
    """Return the new placement, with the positions of the old one if it is about the same source key in the same store."""
    if old is None or not old.is_from(new.source) or old.identity not in ("", new.identity):
        return new
    return new.with_positions(old.positions)


def move_placement(outcome: Outcome, old: Placement | None, transfer: Transfer) -> Placement | None:
    """Return the new placement of the destination; None if it does not change."""
    if isinstance(outcome, Done):
        return merge_placements(outcome.placement, old)
    old = select_placement(old, transfer)
    if isinstance(outcome, Skipped) and outcome.positions and old is not None and old.is_from(transfer.source):
        return old.with_positions(outcome.positions)
    return None


def make_letter(transfer: Transfer, dead: Dead, failures: tuple[Failure, ...]) -> DeadLetter:
    """Return the dead letter of a transfer. `failures` are all failed attempts."""
    source = transfer.source
    return DeadLetter(
        id=transfer.id,
        at=dead.failure.at,
        queue=dead.queue,
        reason=dead.failure.kind,
        message=dead.failure.message,
        hint=dead.hint,
        body=dead.body,
        attributes=dead.attributes,
        route=transfer.route,
        source=f"{source.provider}://{source.bucket}/{source.key}",
        key=transfer.key,
        event_id=transfer.event_id,
        correlation_id=transfer.correlation_id,
        attempts=failures,
    )


def reset_letter(letter: DeadLetter) -> DeadLetter:
    """Return a letter as it is first written: not redriven."""
    return replace(letter, redriven_at=None)


TICKS = 2**22  # per second: since 2004 every float of seconds since 1970 is a whole number of ticks
NEWEST = (2**63 - 1, 2**63 - 1)  # ticks and serial before the first item of a listing


def to_ticks(seconds: float) -> int:
    """Convert a time to an integer, exactly."""
    return round(seconds * TICKS)


def make_cursor(at: int, serial: int) -> str:
    """Return the cursor behind an item of a listing ordered by time, newest first. `at` is in ticks."""
    return f"{at:x}.{serial:x}"


def parse_cursor(text: str) -> tuple[int, int]:
    """Return ticks and serial of a cursor. Raises NotFound."""
    try:
        at, _, serial = text.partition(".")
        return int(at, 16), int(serial, 16)
    except ValueError:
        raise NotFound("there is no such page", where=text[:80], hint="pass on the cursor as it was given") from None
