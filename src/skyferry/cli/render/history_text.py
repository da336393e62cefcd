"""Records of the ledger as text."""

from __future__ import annotations

from collections.abc import Iterator

from skyferry.cli.parameters import format_command
from skyferry.cli.render.output import format_duration, format_size, format_time
from skyferry.model import Change, Checksums, Failure, Placement, Receipt, State, newest_positions
from skyferry.ports import DeadLetter, Refusal, TransferRow

REASONS = {
    "superseded": "a newer version was already applied",
    "current": "the destination already had this version",
    "gone": "the source object no longer existed",
    "foreign": "the object at the destination came from another source, so it was not deleted",
    "filtered": "it does not match the route's filter on size or age",
    "no_route": "its route was removed or no longer matches; a worker with the route may still process it",
    "loop": "the object has already been in the destination store",
    "marker": "it is a folder marker: a destination folder has the folder, or the route skips markers",
    "hops": "it was copied through too many stores",
}
STATES = {
    State.CLAIMED: "a worker is processing it",
    State.RETRY: "waits for its next attempt",
    State.DONE: "copied and verified",
    State.SKIPPED: "nothing to do",
    State.DEAD: "dead letter: `{show} {id}`",
    State.DISCARDED: "its dead letter was discarded",
}
DIGESTS = ("crc32c", "crc64nvme", "sha256", "md5")


def describe_transfer(row: TransferRow) -> Iterator[str]:
    """Yield the lines of one transfer, from its event to its state."""
    t, source = row.transfer, row.transfer.source
    yield f"transfer {t.id}, route {t.route}"
    at = f" at position {t.position}" if t.position else ""
    yield f"  {format_time(t.occurred_at)}  event {t.event_id}: {source.provider}://{source.bucket}/{source.key} {t.change}{at}"
    for failure in row.failures:
        yield f"  {_describe_failure(failure)}"
    if row.lost:
        yield f"  {row.lost} × its worker died or lost the lease"
    yield f"  {format_time(row.updated_at)}  {_describe_state(row)}"
    if row.receipt:
        yield from (f"    {line}" for line in _describe_receipt(row.receipt))


def describe_refusal(refused: Refusal) -> Iterator[str]:
    """Yield the lines of the last event that no route matched."""
    source = refused.source
    yield "no route matched its last event (filtered)"
    event = f"event {refused.event_id}: {source.provider}://{source.bucket}/{source.key} {refused.change}"
    yield f"  {format_time(refused.occurred_at)}  {event}"
    yield from (f"  {f'route {route} rejected it: ' if route else ''}{rule}" for route, rule in refused.rules)


def describe_placement(placed: Placement) -> Iterator[str]:
    """Yield the lines of the object at a destination key."""
    source, at = placed.source, ", ".join(map(str, newest_positions(placed.positions))) or "unknown"
    yield f"{placed.store}: {placed.key} " + ("is deleted" if placed.deleted else f"has version {placed.version}")
    version = f", version {source.version}" if source.version else ""
    yield f"  copied from {source.provider}://{source.bucket}/{source.key}{version}"
    yield f"  since {format_time(placed.settled_at)}; newest position seen: {at}"


def describe_elsewhere(placed: Placement) -> Iterator[str]:
    """Yield the lines of an object in another store that had the same name."""
    what = "was deleted" if placed.deleted else f"was written as version {placed.version}"
    yield f"{placed.store}: {placed.key} {what}"
    yield f"  in {placed.identity or 'the store that had this name first'}, at {format_time(placed.settled_at)}"


def describe_letter(found: DeadLetter) -> Iterator[str]:
    """Yield the lines of one dead letter with its attempts and its message."""
    yield f"dead letter {found.id}, {found.reason}"
    yield f"  {format_time(found.at)}  {found.message}"
    if found.hint:
        yield f"  hint: {found.hint}"
    if found.source:
        yield f"  {found.source} → {found.key}, route {found.route}"
    yield f"  from queue {found.queue}" + (f", event {found.event_id}" if found.event_id else "")
    yield from (f"  {_describe_failure(failure)}" for failure in found.attempts)
    if found.redriven_at is not None:
        yield f"  {format_time(found.redriven_at)}  redriven, waits for a worker"
    yield from (f"  {name}: {value}" for name, value in found.attributes)
    yield f"  message of {format_size(len(found.body))}:"
    yield found.body.decode("utf-8", "backslashreplace")


def _describe_failure(failure: Failure) -> str:
    outage = "" if failure.counts_as_attempt else " (an outage: not counted)"
    return f"{format_time(failure.at)}  attempt {failure.attempt} failed{outage}: {failure.kind}: {failure.message}"


def _describe_state(row: TransferRow) -> str:
    words = STATES[row.state].format(id=row.transfer.id, show=format_command("dead-letters show"))
    if row.state is State.DONE and row.transfer.change is Change.DELETED:
        words = "the delete was applied"
    if row.state is State.SKIPPED:
        words = REASONS.get(row.reason, words)
    due = f", due {format_time(row.due_at)}" if row.due_at is not None else ""
    reason = f" ({row.reason})" if row.reason else ""
    return f"{row.state}{reason}: {words}{due}"


def _describe_receipt(receipt: Receipt) -> Iterator[str]:
    took = f"in {format_duration(receipt.finished_at - receipt.started_at)}, attempt {receipt.attempt}"
    if not receipt.destination_version:  # a delete
        yield took
        return
    yield f"attributes changed in place, {took}" if receipt.in_place else f"{format_size(receipt.size)} {took}"
    yield f"source version {receipt.source_version} → destination version {receipt.destination_version}"
    yield from (f"changed to fit: {change}" for change in receipt.changes)
    for name in () if receipt.in_place else DIGESTS:
        if (value := getattr(receipt.computed, name)) or (
            (value := getattr(receipt.declared, name)) and getattr(receipt.attested, name)
        ):
            yield f"{name} {value}: {_compare_checksums(name, value, receipt)}"


def _compare_checksums(name: str, value: str, receipt: Receipt) -> str:
    """Compare the computed checksum with those of the source and the destination."""
    agreements = ["computed"] if getattr(receipt.computed, name) else []
    sides: tuple[tuple[str, Checksums], ...] = (("source", receipt.declared), ("destination", receipt.attested))
    agreements += [f"{side} {'agrees' if reported == value else 'DIFFERS'}"
             for side, checksums in sides if (reported := getattr(checksums, name))]  # fmt: skip
    return ", ".join(agreements)
