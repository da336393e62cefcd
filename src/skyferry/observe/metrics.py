"""Prometheus metrics, counted from records.

Counts are plain numbers in dicts; a scrape converts them to metric families. Counting a record takes about a microsecond.
Labels come from the configuration and from closed sets (errors, operations, outcomes), never from keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from skyferry.observe.catalog import Catalog
from skyferry.ports import Depth
from skyferry.records import Record
from skyferry.status import QueueBytes, Status

BUCKETS, OTHERS = 50, "(others)"  # limit of unknown buckets as label values: senders can name any number of them
BREAKER = {"closed": 0, "half_open": 1, "open": 2}
CONDITION = {"ok": 0, "degraded": 1, "down": 2}


class MetricsObserver(Collector):
    """Counts records, and registers itself and the metrics of the process with `registry`.

    Gauges of queues, ledger and transfers in flight have the values of the last `update`. Each scrape begins with one, once
    `status` is set.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.status: Callable[[], Status] | None = None  # what is known at a scrape
        self._metrics = m = Catalog()
        self._buckets: set[str] = set()  # unknown buckets that are label values
        registry.register(self)
        ProcessCollector(registry=registry)
        self._handlers: dict[str, Callable[[Record], None]] = {
            "queue.received": lambda r: m.messages.add(r.count or 0, r.queue, "received"),
            "queue.failed": lambda r: m.queue_failures.add(1, r.queue, r.error),
            "message.acked": lambda r: m.messages.add(_count(r), r.queue, "acked"),
            "message.released": lambda r: m.messages.add(_count(r), r.queue, "released"),
            "message.test": lambda r: m.messages.add(_count(r), r.queue, "test"),
            "message.dead": self._message_dead,
            "health.failing": lambda r: self._health(r, 1),
            "health.restored": lambda r: self._health(r, 0),
            "watch.failed": lambda r: m.watch_failures.add(1, r.store, r.error),
            "ledger.request": lambda r: m.ledger_duration.observe(r.duration or 0.0, r.operation),
            "ledger.failed": lambda r: m.ledger_failures.add(1, r.error),
            "event.received": lambda r: m.events.add(1, r.reason),
            "event.unrouted": self._unrouted,
            "event.unknown_bucket": self._unknown,
            "event.passed_over": self._unknown,
            "event.ignored": lambda r: m.ignored.add(1, r.queue),
            "transfer.duplicate": lambda r: m.transfers.add(1, r.route, "duplicate"),
            "transfer.done": self._done,
            "transfer.skipped": self._skipped,
            "transfer.retry": self._retry,
            "transfer.dead": self._dead,
            "transfer.released": lambda r: m.transfers.add(1, r.route, "released"),
            "transfer.lease_lost": lambda r: m.transfers.add(1, r.route, "lease_lost"),
            "transfer.message_lost": lambda r: m.transfers.add(1, r.route, "message_lost"),
            "dead_letter.published": lambda r: m.published.add(_count(r)),
            "dead_letter.publish_failed": lambda r: m.publish_failures.add(1, r.error),
            "dead_letter.returned": lambda r: m.returned.add(1, r.queue, r.reason),
            "store.special_file": lambda r: m.special_files.add(1, r.store, r.reason),
            "dead_letter.foreign": lambda r: m.foreign.add(1, r.queue),
            "store.request": self._request,
            "store.retry": lambda r: m.request_retries.add(1, r.store, r.operation, r.error),
            "breaker.changed": lambda r: m.breaker.values.update({(r.store,): BREAKER[r.reason]}),
            "shared_limits.fallback": lambda r: m.limits_alone.set({(): 1}),
            "shared_limits.restored": lambda r: m.limits_alone.set({(): 0}),
            "limiter.waited": lambda r: m.waits.add(r.duration or 0.0, r.store),
        }

    def on(self, record: Record) -> None:
        """Count one record."""
        handler = self._handlers.get(record.event)
        if handler is not None:
            handler(record)

    def update(self, now: Status) -> None:
        """Set the gauges that are not counted; unknown values disappear."""
        m = self._metrics
        m.in_flight.set({(): now.in_flight})
        m.breaker.set({(store,): BREAKER[state] for store, state in now.breakers.items()})
        m.waiting.set({(store,): count for store, count in now.limiter_waiting.items()})
        m.concurrency.set({(store,): count for store, count in now.concurrency.items()})
        m.received.set({(name,): age for name, age in now.receives.items()})
        m.checks.set({(check.part, check.name): CONDITION[check.state] for check in now.checks})
        m.backlog.set(
            {
                (name, state): size
                for name, bytes in now.backlog.items()
                for state, size in (("received", bytes.received), ("waiting", _estimate_waiting(name, bytes, now)))
                if size is not None
            }
        )
        m.role_held.set({(role,): held for role, held in now.roles.items()})
        m.routes.set({now.digests: 1})
        self._update_ledger(now if now.exports_ledger else None)
        self._update_queues(now.queues if now.exports_queues else {})
        oldest = now.oldest if now.exports_ledger else now.own_oldest
        m.unsettled.set({(route,): age for route, age in (oldest or {}).items()})

    def _update_ledger(self, now: Status | None) -> None:
        """Set the gauges that every worker of a ledger would export with the same values; None = another one does."""
        m = self._metrics
        if now is None:
            for series in (m.letters, m.ledger, m.held, m.workers):
                series.set({})
            return
        m.letters.set({} if now.dead_letters is None else {(): now.dead_letters})
        m.ledger.set({(state.value,): count for state, count in now.transfers.items()})
        m.held.set(dict.fromkeys(m.held.values, 0) | {(s,): n for s, n in now.held_deletes.items()})
        m.workers.set({(state.value,): count for state, count in now.workers.items()})

    def _update_queues(self, queues: Mapping[str, Depth]) -> None:
        m = self._metrics
        m.oldest.set({(name,): depth.oldest_age for name, depth in queues.items() if depth.oldest_age >= 0})
        m.queue.set(
            {
                (name, state): count
                for name, depth in queues.items()
                for state, count in (("ready", depth.ready), ("leased", depth.leased), ("delayed", depth.delayed))
                if count >= 0  # negative: the provider does not report it
            }
        )

    def collect(self) -> Iterable[Metric]:
        """Return all metric families for a scrape."""
        if self.status:
            self.update(self.status())
        return [series.family() for series in self._metrics.all()]

    def describe(self) -> Iterable[Metric]:
        """Return the same, so that the registry rejects a second observer."""
        return self.collect()

    def _health(self, r: Record, value: int) -> None:
        if r.queue:
            self._metrics.queue_failing.values[r.queue,] = value
        else:
            self._metrics.ledger_failing.set({(): value})

    def _done(self, r: Record) -> None:
        m = self._metrics
        m.transfers.add(1, r.route, "done")
        m.bytes.add(r.bytes or 0, r.route)
        if r.duration is not None:
            m.duration.observe(r.duration, r.route)
        if r.lag is not None:
            m.lag.observe(r.lag, r.route)

    def _skipped(self, r: Record) -> None:
        self._metrics.transfers.add(1, r.route, "skipped")
        self._metrics.skips.add(1, r.route, r.reason)
        if r.lag is not None:
            self._metrics.lag.observe(r.lag, r.route)

    def _retry(self, r: Record) -> None:
        self._metrics.transfers.add(1, r.route, "retry")
        self._metrics.retries.add(1, r.route, r.error)

    def _dead(self, r: Record) -> None:
        self._metrics.transfers.add(1, r.route, "dead")
        self._metrics.dead.add(1, r.error)

    def _unrouted(self, r: Record) -> None:
        self._metrics.events.add(1, r.reason)
        self._metrics.unrouted.add(1)

    def _unknown(self, r: Record) -> None:
        bucket = r.bucket
        if bucket not in self._buckets:
            bucket = r.bucket if len(self._buckets) < BUCKETS else OTHERS
            self._buckets.add(bucket)
        self._metrics.unknown.add(1, r.queue, bucket, r.reason)
        if r.error:
            self._metrics.dead.add(1, r.error)

    def _message_dead(self, r: Record) -> None:
        self._metrics.messages.add(_count(r), r.queue, "dead")
        self._metrics.dead.add(1, r.error)

    def _request(self, r: Record) -> None:
        self._metrics.requests.add(1, r.store, r.operation, r.error)
        if r.duration is not None:
            self._metrics.request_duration.observe(r.duration, r.store, r.operation)


def _estimate_waiting(queue: str, bytes: QueueBytes, now: Status) -> float | None:
    depth = now.queues.get(queue)
    return None if depth is None else bytes.estimate_waiting(depth)


def _count(record: Record) -> int:
    return 1 if record.count is None else record.count
