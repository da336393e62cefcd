"""The steps that observers receive: one frozen record each.

`Record.event` is a stable dotted name; `docs/reference/observability.md` lists them all. Fields have the same names in logs,
metrics (as labels) and traces. "" and None mean that a field does not apply to the step.
"""

from __future__ import annotations

from typing import Literal, get_args

from skyferry.frozen import dataclass

Event = Literal[
    "service.started",  # message: the event loop
    "ledger.opened",  # message: where it is, and what it has; count: of other workers. Once at the start
    "service.draining",
    "service.stopped",
    "process.started",  # worker, message: its process id
    "process.ended",  # worker, message: how it ended, delay: until it is started again
    "role.taken",  # operation: the role, which this worker does for all now
    "role.lost",  # operation: the role; message: why. Not at a drain
    "check.changed",  # queue, store or operation (the part), reason: ok, degraded, down
    "store.identified",  # message: the service that the server says it is; once at the start
    "store.region_unknown",
    "server.unsafe",  # queue ("" = the ledger), message: settings that may lose what was confirmed, hint; once at the start
    "route.metadata_lost",  # message: the metadata that the destination cannot keep; once at the start
    "queue.received",  # count
    "queue.failed",  # error
    "health.failing",  # queue ("" = the ledger), error, hint
    "health.restored",  # queue ("" = the ledger), count: of failed uses, duration
    "ledger.request",  # operation: claim or settle, count: transfers of the batch, duration
    "ledger.failed",  # error: the messages are not acknowledged, so they are delivered again
    "message.acked",  # count
    "message.released",  # count, delay
    "message.test",  # a provider's test message, acknowledged
    "message.dead",  # could not be parsed
    "event.received",  # reason: the format
    "event.unrouted",  # no route takes it; reason: the format, message: the rules that excluded it
    "event.unknown_bucket",  # bucket: matches no configured store; kept as a dead letter
    "event.passed_over",  # bucket, reason: released, ignored; the same under another `unknown_buckets`
    "event.other_region",
    "event.ignored",  # reason: the provider's name of a notification that does not concern content
    "transfer.claimed",
    "transfer.duplicate",  # was settled before
    "transfer.done",  # duration, bytes, lag, reason: present if the destination had it already; message: what it cannot keep
    "transfer.skipped",  # reason
    "transfer.retry",  # error, delay
    "transfer.dead",  # error
    "transfer.released",  # reason: shutdown, breaker, lost
    "transfer.lease_lost",  # another worker took over, so the result is not recorded
    "transfer.message_lost",  # its message no longer exists, so it is processed again
    "dead_letter.published",  # count
    "dead_letter.publish_failed",  # error: the letters stay in the ledger and are sent later
    "dead_letter.returned",  # queue, reason: redriven, stale; transfer_id: the letter's id
    "dead_letter.foreign",  # queue, transfer_id: the letter's id, error: a letter of another ledger, not sent again
    "store.request",  # store, operation, duration, bytes, error
    "store.retry",  # one request is retried within the attempt
    "store.disordered",  # key: one out of order in a listing, message: the key before it
    "breaker.changed",  # store, reason: closed, open, half_open; error: the last one, if it opened
    "limit.changed",  # store, count: requests that it may have in flight; only changes by a quarter
    "limiter.waited",  # store, duration
    "shared_limits.fallback",  # error, message, count: of workers; the ledger does not answer
    "shared_limits.restored",  # the ledger answers again
    "identity.failed",  # store, error: credentials were not renewed; the old ones are used until they expire
    "deletes.held",  # store, count, reason: limit, empty, replaced
    "deletes.back",  # store, count: the objects are at the source again
    "deletes.approved",  # store, count: sent to the queue
    "watch.noticed",  # a local file changed
    "watch.failed",  # error, delay: changes could not be found or sent; retried after the delay
    "store.special_file",  # store, key: the path, reason: symlink, fifo, socket or device
    "watch.unreadable",  # a local name that cannot be a key, or a file without read permission
]
PRESENT = "present"  # the reason of a transfer that is done without a write
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
    bucket: str = ""  # provider://bucket, as named by a notification: untrusted
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
    worker: str = ""  # of `--processes`: the number of the process; "" = the parent, or the only one
