"""Report to observers: the engine's nouns in, records out."""

from __future__ import annotations

from collections.abc import Sequence

from skyferry.errors import LedgerError, SkyferryError, UnroutedBucket
from skyferry.model import ObjectEvent, State, Transfer
from skyferry.ports import (
    Clock,
    Dead,
    DeadLetter,
    Done,
    Message,
    Observer,
    Outcome,
    Retry,
    Settled,
    Skipped,
    letter_attributes,
)
from skyferry.records import PRESENT, Event, Record

NAME = 100  # maximum characters of a name from outside


class NullObserver:
    """An observer that ignores records, for steps that were reported before."""

    def on(self, record: Record) -> None:
        """Ignore the record."""


class Reporter:
    """Reports each step by one method."""

    def __init__(self, observer: Observer, clock: Clock) -> None:
        self._on, self._clock = observer.on, clock

    def report_receive(self, queue: str, count: int) -> None:
        """Report that messages were received."""
        self._on(Record("queue.received", queue=queue, count=count))

    def report_queue_failure(self, queue: str, error: SkyferryError) -> None:
        """Report that a call of the queue failed, or a call of the ledger about its messages."""
        event: Event = "ledger.failed" if isinstance(error, LedgerError) else "queue.failed"
        self._on(Record(event, queue=queue, error=error.kind, message=str(error)))

    def report_ledger_failure(self, transfer: Transfer, error: SkyferryError) -> None:
        """Report that a write to the ledger failed. Nothing is acked."""
        self._step("ledger.failed", transfer, error=error.kind, message=str(error))

    def report_acks(self, queue: str, count: int) -> None:
        """Report that messages were acked."""
        self._on(Record("message.acked", queue=queue, count=count))

    def report_releases(self, queue: str, count: int, delay: float) -> None:
        """Report that messages were released."""
        self._on(Record("message.released", queue=queue, count=count, delay=delay))

    def report_unreadable(self, queue: str, error: SkyferryError) -> None:
        """Report that a message became a dead letter."""
        self._on(Record("message.dead", queue=queue, error=error.kind, message=str(error), hint=error.hint))

    def report_test_message(self, queue: str) -> None:
        """Report a provider's test message."""
        self._on(Record("message.test", queue=queue))

    def report_unknown_bucket(self, queue: str, event: ObjectEvent, outcome: str) -> None:
        """Report that an event of an unknown bucket was kept, released or ignored."""
        if outcome == "kept":
            self._report_foreign("event.unknown_bucket", queue, event, outcome, UnroutedBucket.kind)
        else:
            self._report_foreign("event.passed_over", queue, event, outcome)

    def report_other_region(self, queue: str, event: ObjectEvent, region: str) -> None:
        """Report that the message of an event was released, because its routes run in another region."""
        self._report_foreign("event.other_region", queue, event, region)

    def _report_foreign(self, name: Event, queue: str, event: ObjectEvent, reason: str, error: str = "") -> None:
        self._on(
            Record(
                name,
                correlation_id=event.correlation_id,
                event_id=event.event_id,
                queue=queue,
                bucket=f"{event.source.provider}://{event.source.bucket}",
                key=event.source.key,
                operation=event.change,
                reason=reason,
                error=error,
            )
        )

    def report_event(self, queue: str, event: ObjectEvent, why: str = "") -> None:
        """Report that an event was parsed. `why` names the rules that refused it, if no route takes it."""
        self._on(
            Record(
                "event.unrouted" if why else "event.received",
                correlation_id=event.correlation_id,
                event_id=event.event_id,
                queue=queue,
                key=event.source.key,
                operation=event.change,
                reason=event.format,
                message=why,
                traceparent=event.traceparent,
            )
        )

    def report_ignored(self, queue: str, name: str) -> None:
        """Report a notification that does not concern content, by the provider's name for it."""
        self._on(Record("event.ignored", queue=queue, reason=name[:NAME]))

    def report_published(self, published: Sequence[DeadLetter]) -> None:
        """Report that dead letters were published."""
        self._on(Record("dead_letter.published", count=len(published)))

    def report_foreign_letters(self, kept: Sequence[DeadLetter]) -> None:
        """Report dead letters that are not published, because they arrived as dead letters of another deployment."""
        for letter in kept:
            self._on(
                Record("dead_letter.foreign", queue=letter.queue, transfer_id=letter.id, error=letter.reason, count=1)
            )

    def report_publish_failure(self, error: SkyferryError) -> None:
        """Report that dead letters could not be published. They wait in the ledger."""
        self._on(Record("dead_letter.publish_failed", error=error.kind, message=str(error), hint=error.hint))

    def report_redelivery(self, queue: str, reason: str, messages: Sequence[Message]) -> None:
        """Report messages that refer to dead letters, and were redriven or are stale."""
        for message in messages:
            attributes = dict(message.attributes)
            self._on(
                Record(
                    "dead_letter.returned",
                    queue=queue,
                    reason=reason,
                    transfer_id=attributes.get(letter_attributes.LETTER, ""),
                )
            )

    def report_claim(self, transfer: Transfer, attempt: int) -> None:
        """Report that work on a transfer begins."""
        self._step("transfer.claimed", transfer, attempt=attempt)

    def report_duplicate(self, transfer: Transfer, settled: Settled) -> None:
        """Report that it was settled before."""
        self._step("transfer.duplicate", transfer, reason=settled.state)

    def report_lease_lost(self, transfer: Transfer) -> None:
        """Report that the claim was lost, and the result is not recorded."""
        self._step("transfer.lease_lost", transfer)

    def report_lost_message(self, transfer: Transfer) -> None:
        """Report that its message no longer exists, and it is processed again."""
        self._step("transfer.message_lost", transfer)

    def report_outcome(self, transfer: Transfer, attempt: int, outcome: Outcome) -> None:
        """Report the recorded outcome of an attempt."""
        now = self._clock.time()
        lag = max(0.0, now - transfer.occurred_at)
        if isinstance(outcome, Done):
            receipt = outcome.receipt
            duration = receipt.finished_at - receipt.started_at
            moved, reason = (0, PRESENT) if outcome.found else (0 if receipt.in_place else receipt.size, "")
            self._step(
                "transfer.done",
                transfer,
                reason=reason,
                message="; ".join(outcome.lost),
                attempt=attempt,
                bytes=moved,
                duration=duration,
                lag=lag,
            )
        elif isinstance(outcome, Skipped):
            self._step("transfer.skipped", transfer, attempt=attempt, reason=outcome.reason, lag=lag)
        elif isinstance(outcome, Retry | Dead):
            failure = outcome.failure
            self._step(
                "transfer.retry" if isinstance(outcome, Retry) else "transfer.dead",
                transfer,
                attempt=attempt,
                error=failure.kind,
                message=failure.message,
                delay=outcome.delay if isinstance(outcome, Retry) else None,
                hint=outcome.hint if isinstance(outcome, Dead) else "",
            )
        else:
            self._step("transfer.released", transfer, attempt=attempt, delay=outcome.delay)

    def _step(
        self,
        name: Event,
        transfer: Transfer,
        *,
        reason: str | State = "",
        error: str = "",
        message: str = "",
        hint: str = "",
        attempt: int | None = None,
        bytes: int | None = None,
        duration: float | None = None,
        delay: float | None = None,
        lag: float | None = None,
    ) -> None:
        self._on(
            Record(  # by position, which takes 5,500 instructions instead of 14,200
                name,
                transfer.correlation_id,
                transfer.event_id,
                transfer.id,
                transfer.route,
                "",
                transfer.store,
                "",
                transfer.key,
                transfer.change,
                reason,
                error,
                message,
                hint,
                attempt,
                None,
                bytes,
                duration,
                delay,
                lag,
                transfer.traceparent,
            )
        )
