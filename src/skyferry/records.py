"""What the engine tells its observers: one frozen record per step.

`Record.event` is a stable dotted name; `docs/reference/observability.md` lists them all. Its fields carry the same names in logs,
metrics (where they are labels) and traces. "" and None mean: does not apply to this step.
"""

from __future__ import annotations

from typing import Literal, get_args

from skyferry.frozen import dataclass

Event = Literal[
    "service.started",
    "service.draining",
    "service.stopped",
    "check.changed",  # queue, store or operation (the part), reason: ok, degraded, down
    "route.metadata_lost",  # message: what the destination cannot carry, said once at the start
    "queue.received",  # count
    "queue.failed",  # error
    "health.failing",  # queue ("" = the ledger), error, hint: it does not work
    "health.restored",  # queue ("" = the ledger): it works again
    "ledger.failed",  # error: nothing is acked, it comes again
    "message.acked",  # count
    "message.released",  # count, delay
    "message.test",  # a provider's test message, acked
    "message.dead",  # could not be parsed
    "event.received",  # reason: the format it came in
    "event.unrouted",  # no route takes it; reason: the format, message: the rules that refused it
    "event.unknown_bucket",  # bucket; no store of the configuration is that: kept as a dead letter
    "event.passed_over",  # bucket, reason: released, ignored; the same under that setting of its queue
    "event.ignored",  # reason: the provider's name for what does not concern content
    "transfer.claimed",
    "transfer.duplicate",  # settled before
    "transfer.done",  # duration, bytes, lag
    "transfer.skipped",  # reason
    "transfer.retry",  # error, delay
    "transfer.dead",  # error
    "transfer.released",  # reason: shutdown, breaker, lost
    "transfer.lease_lost",  # the claim was lost, the result is not recorded
    "dead_letter.published",  # count
    "dead_letter.publish_failed",  # error: they stay in the ledger, and are sent later
    "dead_letter.returned",  # queue, reason: redriven, stale; transfer_id: the letter's id
    "dead_letter.foreign",  # queue, transfer_id: the id of the letter, error: of what died: it is not sent on again
    "store.request",  # store, operation, duration, bytes, error
    "store.retry",  # one request is tried again within the attempt
    "store.disordered",  # a key of a listing, and message: after which it came
    "breaker.changed",  # store, reason: closed, open, half_open
    "limiter.waited",  # store, duration
    "identity.failed",  # store, error: no new credential was given; the old one serves to its end
    "deletes.held",  # store, count, reason: limit, empty, replaced
    "deletes.back",  # store, count: their objects are at the source again
    "deletes.approved",  # store, count: sent to the queue
    "watch.noticed",  # a local file changed
    "watch.failed",  # error, delay: changes could not be passed on, or looked for; it is tried again
    "store.special_file",  # store, key: the path, reason: symlink, fifo, socket or device
    "watch.unreadable",  # a local name that cannot be a key, or what may not be read
]
EVENTS: tuple[str, ...] = get_args(Event)


@dataclass(frozen=True, slots=True)
class Record:
    """One step."""

    event: Event
    correlation_id: str = ""
    event_id: str = ""
    transfer_id: str = ""
    route: str = ""
    queue: str = ""
    store: str = ""
    bucket: str = ""  # provider://bucket, as a notification names it: anybody may have written it
    key: str = ""  # destination key (source key for watch.*)
    operation: str = ""  # read, write, head, write_part, ...
    reason: str = ""
    error: str = ""  # SkyferryError.kind
    message: str = ""
    hint: str = ""
    attempt: int | None = None
    count: int | None = None
    bytes: int | None = None
    duration: float | None = None  # seconds
    delay: float | None = None  # seconds
    lag: float | None = None  # seconds from the event to its settlement
    traceparent: str = ""
