"""The ledger's records in words."""

from __future__ import annotations

from collections.abc import Iterator

from skyferry.cli.render.output import size, span, when
from skyferry.model import Change, Checksums, Failure, Placement, Receipt, State, newest_positions
from skyferry.ports import DeadLetter, Refusal, TransferRow

REASONS = {
    "superseded": "a newer version had been applied already",
    "current": "the destination had this version already",
    "gone": "the source was gone when it was looked at",
    "foreign": "what is at the destination did not come from this source, so the delete left it alone",
    "filtered": "the route's filter on size or age does not take it",
    "no_route": "its route is gone from the configuration, or takes it no more; a worker that has the route may take it up",
    "loop": "the object has been at the destination already",
    "hops": "it is a copy of a copy, too many times over",
}
STATES = {
    State.CLAIMED: "a worker has it in hand",
    State.RETRY: "waits for its next attempt",
    State.DONE: "copied and verified",
    State.SKIPPED: "nothing to do",
    State.DEAD: "given up: see `skyferry dead-letters show {id}`",
    State.DISCARDED: "was a dead letter, and somebody discarded it",
}
DIGESTS = ("crc32c", "crc64nvme", "sha256", "md5")


def transfer(row: TransferRow) -> Iterator[str]:
    """One transfer from its event to where it stands."""
    t, source = row.transfer, row.transfer.source
    yield f"transfer {t.id}, route {t.route}"
    at = f" at position {t.position}" if t.position else ""
    yield f"  {when(t.occurred_at)}  event {t.event_id}: {source.provider}://{source.bucket}/{source.key} {t.change}{at}"
    for failure in row.failures:
        yield f"  {_failed(failure)}"
    if row.lost:
        yield f"  {row.lost} × the worker that had it died or lost its lease"
    yield f"  {when(row.updated_at)}  {_stands(row)}"
    if row.receipt:
        yield from (f"    {line}" for line in _proof(row.receipt))


def refusal(refused: Refusal) -> Iterator[str]:
    """The last event that no route took."""
    source = refused.source
    yield "no route took its last event (filtered)"
    event = f"event {refused.event_id}: {source.provider}://{source.bucket}/{source.key} {refused.change}"
    yield f"  {when(refused.occurred_at)}  {event}"
    yield from (f"  {f'route {route} refused it: ' if route else ''}{rule}" for route, rule in refused.rules)


def placement(placed: Placement) -> Iterator[str]:
    """What a destination key holds."""
    source, at = placed.source, ", ".join(map(str, newest_positions(placed.positions))) or "unknown"
    yield f"{placed.store}: {placed.key} " + ("is deleted" if placed.deleted else f"holds version {placed.version}")
    version = f", version {source.version}" if source.version else ""
    yield f"  as {source.provider}://{source.bucket}/{source.key}{version}"
    yield f"  since {when(placed.settled_at)}; newest position seen: {at}"


def elsewhere(placed: Placement) -> Iterator[str]:
    """List what another store held under the same name of a store."""
    what = "was deleted" if placed.deleted else f"was written as version {placed.version}"
    yield f"{placed.store}: {placed.key} {what}"
    yield f"  in {placed.identity or 'the store that had this name first'}, at {when(placed.settled_at)}"


def letter(found: DeadLetter) -> Iterator[str]:
    """One dead letter with everything that was tried."""
    yield f"dead letter {found.id}, {found.reason}"
    yield f"  {when(found.at)}  {found.message}"
    if found.hint:
        yield f"  hint: {found.hint}"
    if found.source:
        yield f"  {found.source} → {found.key}, route {found.route}"
    yield f"  from queue {found.queue}" + (f", event {found.event_id}" if found.event_id else "")
    yield from (f"  {_failed(failure)}" for failure in found.attempts)
    if found.redriven_at is not None:
        yield f"  {when(found.redriven_at)}  redriven, waits for a worker"
    yield from (f"  {name}: {value}" for name, value in found.attributes)
    yield f"  message of {size(len(found.body))}:"
    yield found.body.decode("utf-8", "backslashreplace")


def _failed(failure: Failure) -> str:
    outage = "" if failure.counts_as_attempt else " (an outage: not counted)"
    return f"{when(failure.at)}  attempt {failure.attempt} failed{outage}: {failure.kind}: {failure.message}"


def _stands(row: TransferRow) -> str:
    words = STATES[row.state].format(id=row.transfer.id)
    if row.state is State.DONE and row.transfer.change is Change.DELETED:
        words = "the delete was applied"
    if row.state is State.SKIPPED:
        words = REASONS.get(row.reason, words)
    due = f", due {when(row.due_at)}" if row.due_at is not None else ""
    reason = f" ({row.reason})" if row.reason else ""
    return f"{row.state}{reason}: {words}{due}"


def _proof(receipt: Receipt) -> Iterator[str]:
    took = f"in {span(receipt.finished_at - receipt.started_at)}, attempt {receipt.attempt}"
    if not receipt.destination_version:  # a delete
        yield took
        return
    yield f"{size(receipt.size)} {took}"
    yield f"source version {receipt.source_version} → destination version {receipt.destination_version}"
    for name in DIGESTS:
        if (value := getattr(receipt.computed, name)) or (
            (value := getattr(receipt.declared, name)) and getattr(receipt.attested, name)
        ):
            yield f"{name} {value}: {_agreement(name, value, receipt)}"


def _agreement(name: str, value: str, receipt: Receipt) -> str:
    """Who says so: we, of the bytes that passed, and the two ends."""
    said = ["computed"] if getattr(receipt.computed, name) else []
    sides: tuple[tuple[str, Checksums], ...] = (("source", receipt.declared), ("destination", receipt.attested))
    said += [f"{side} {'agrees' if theirs == value else 'DIFFERS'}"
             for side, checksums in sides if (theirs := getattr(checksums, name))]  # fmt: skip
    return ", ".join(said)
