"""What every ledger decides alike. Pure."""

from __future__ import annotations

from dataclasses import replace

from skyferry.errors import NotFound
from skyferry.model import Failure, Placement, State, Transfer
from skyferry.ports import Dead, DeadLetter, Outcome, Released, Retry, Settled, Skipped, Wait

NO_ROUTE = "no_route"  # ended for a configuration that has not its route: one that has may claim it again
UNROUTED = "unrouted_bucket"
COUNTED = (State.CLAIMED, State.DONE, State.SKIPPED)  # states in which the last attempt is no failure, but counts


def refuse(
    transfer: Transfer,
    state: State,
    reason: str,
    due_at: float | None,
    held_until: float,
    now: float,
    placed: Placement | None = None,
) -> Settled | Wait | None:
    """Why a claim is not given; None if it is. `held_until`: the end of another owner's lease, 0 if there is none."""
    transfer_id = transfer.id
    moved = placed is not None and not placed.is_in(transfer.identities)
    anew = state in (State.DONE, State.SKIPPED) and (moved or transfer.asked or reason == NO_ROUTE)
    if state.settled and not anew:
        return Settled(transfer_id, state, reason)
    if state is State.RETRY and due_at is not None and due_at > now:
        return Wait(transfer_id, due_at, busy=False)
    return busy(transfer_id, held_until, now)


def busy(transfer_id: str, held_until: float, now: float) -> Wait | None:
    """Whether another owner has the destination key."""
    return Wait(transfer_id, held_until, busy=True) if held_until > now else None


def after(outcome: Outcome) -> tuple[State, str, float | None, Failure | None]:
    """The state that an outcome leads to, its reason, when it is due again, and the failure to remember."""
    match outcome:
        case Retry(at=at, failure=failure):
            return State.RETRY, failure.kind, at, failure
        case Released(at=at):
            return State.RETRY, "", at, None
        case Dead(failure=failure):
            return State.DEAD, failure.kind, None, failure
        case Skipped(reason=reason):
            return State.SKIPPED, reason, None, None
    return State.DONE, "", None, None


def known(placed: Placement | None, transfer: Transfer) -> Placement | None:
    """What the destination key holds, as far as that was in the store that the transfer goes to."""
    return placed if placed is not None and placed.is_in(transfer.identities) else None


def merged(new: Placement, old: Placement | None) -> Placement:
    """The new placement, knowing the positions of the old one if that is about the same source key, in the same store."""
    if old is None or not old.is_from(new.source) or old.identity not in ("", new.identity):
        return new
    return new.with_positions(old.positions)


def letter(transfer: Transfer, dead: Dead, failures: tuple[Failure, ...]) -> DeadLetter:
    """The dead letter of a transfer; `failures` are all of its story."""
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


def fresh(buried: DeadLetter) -> DeadLetter:
    """As a letter is kept when it is written: nobody has redriven it."""
    return replace(buried, redriven_at=None)


def source_key(source: str) -> str:
    """The key in `DeadLetter.source`."""
    return source.partition("://")[2].partition("/")[2]


def source_bucket(source: str) -> str:
    """provider://bucket of `DeadLetter.source`."""
    provider, slashes, rest = source.partition("://")
    return f"{provider}{slashes}{rest.partition('/')[0]}"


TICKS = 2**22  # per second: every float of seconds since 1970 from 2004 on is a whole number of them


def ticks(seconds: float) -> int:
    """A time as an integer, exactly."""
    return round(seconds * TICKS)


def cursor(at: int, serial: int) -> str:
    """The place behind one item of a listing that is ordered by time, newest first; `at` in ticks."""
    return f"{at:x}.{serial:x}"


def behind(text: str) -> tuple[int, int]:
    """The ticks and the serial of a cursor. Raises NotFound."""
    try:
        at, _, serial = text.partition(".")
        return int(at, 16), int(serial, 16)
    except ValueError:
        raise NotFound("there is no such page", where=text[:80], hint="pass on the cursor as it was given") from None
