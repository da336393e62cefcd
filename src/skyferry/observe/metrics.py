"""Prometheus metrics, counted from records.

Counts are plain numbers in dicts; a scrape converts them to metric families. Counting a record takes about a microsecond.
Labels come from the configuration and from closed sets (errors, operations, outcomes), never from keys.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from skyferry import __version__
from skyferry.records import Record
from skyferry.status import Status

SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
LONG = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
LAG = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 3 * 3600, 6 * 3600, 24 * 3600)
BUCKETS, OTHERS = 50, "(others)"  # limit of unknown buckets as label values: senders can name any number of them
BREAKER = {"closed": 0, "half_open": 1, "open": 2}
CONDITION = {"ok": 0, "degraded": 1, "down": 2}


@dataclass(slots=True)
class Series:
    """One metric: its definition and its numbers by label values."""

    kind: Literal["counter", "gauge", "histogram"]
    name: str  # as scraped, without the suffixes of a histogram
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()  # upper bounds of a histogram, without +Inf
    values: dict[tuple[str, ...], float] = field(default_factory=dict)
    counts: dict[tuple[str, ...], list[int]] = field(default_factory=dict)  # per bucket, +Inf last; `values` is the sum

    def add(self, amount: float, *labels: str) -> None:
        """Add to the number of these labels."""
        self.values[labels] = self.values.get(labels, 0) + amount

    def observe(self, amount: float, *labels: str) -> None:
        """Count one measurement in its bucket. Negative ones, due to differing clocks, count as 0."""
        counts = self.counts.get(labels)
        if counts is None:
            counts = self.counts[labels] = [0] * (len(self.buckets) + 1)
        amount = max(amount, 0.0)
        counts[bisect_left(self.buckets, amount)] += 1
        self.values[labels] = self.values.get(labels, 0.0) + amount

    def set(self, values: Mapping[tuple[str, ...], float]) -> None:
        """Replace all numbers. Labels without one disappear."""
        self.values = dict(values)

    def family(self) -> Metric:
        """Convert to a metric family for a scrape."""
        if self.kind == "histogram":
            return self._histogram()
        make = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        family = make(self.name, self.help, labels=self.labels)
        for labels, value in list(self.values.items()):
            family.add_metric(labels, value)
        return family

    def _histogram(self) -> Metric:
        family = HistogramMetricFamily(self.name, self.help, labels=self.labels)
        bounds = [*(f"{float(b)}" for b in self.buckets), "+Inf"]
        for labels, counts in list(self.counts.items()):
            total, buckets = 0, []
            for bound, count in zip(bounds, counts, strict=True):
                total += count
                buckets.append((bound, float(total)))
            family.add_metric(labels, buckets, sum_value=self.values[labels])
        return family


class Catalog:
    """All metrics of Skyferry, in the order of the documentation."""

    def __init__(self) -> None:
        self.transfers = counter(
            "transfers_total", "Transfers by outcome; done, skipped and dead are final.", "route", "outcome"
        )
        self.skips = counter("skips_total", "Transfers without anything to do, by reason.", "route", "reason")
        self.duration = histogram(
            "transfer_duration_seconds", "Time from claim to settlement of transfers done.", LONG, "route"
        )
        self.bytes = counter("transfer_bytes_total", "Bytes of transfers done.", "route")
        self.lag = histogram("replication_lag_seconds", "Time from the event to its settlement.", LAG, "route")
        self.retries = counter("retries_total", "Failed attempts that are retried, by error.", "route", "error")
        self.dead = counter(
            "dead_letters_total", "Transfers and messages that became dead letters, by error.", "reason"
        )
        self.published = counter(
            "dead_letters_published_total", "Dead letters sent to the queue named by dead_letters."
        )
        self.publish_failures = counter(
            "dead_letter_publish_failures_total", "Failures to send dead letters, by error.", "error"
        )
        self.returned = counter(
            "dead_letters_returned_total",
            "Dead letters that came back through a queue, by outcome: redriven, stale.",
            "queue",
            "outcome",
        )
        self.foreign = counter(
            "dead_letters_foreign_total",
            "Dead letters of another ledger that failed here too, and so are not sent again.",
            "queue",
        )
        self.events = counter("events_total", "Events read from messages, by format.", "format")
        self.unrouted = counter("events_unrouted_total", "Events of known buckets that no route takes.")
        self.unknown = counter(
            "events_unknown_bucket_total",
            "Events of buckets that match no store, by outcome: kept (as dead letters), released, ignored. The first 50 "
            "buckets by name, then (others).",
            "queue",
            "bucket",
            "outcome",
        )
        self.ignored = counter("events_ignored_total", "Notifications that do not concern content.", "queue")
        self.messages = counter(
            "messages_total",
            "Messages by outcome: received, acked, released, test, dead.",
            "queue",
            "outcome",
        )
        self.queue_failures = counter("queue_failures_total", "Failed calls to a queue.", "queue", "error")
        self.ledger_failures = counter(
            "ledger_failures_total",
            "Claims that the ledger failed to grant, and outcomes that it failed to record.",
            "error",
        )
        self.ledger_failing = gauge("ledger_failing", "1 while the ledger does not work or its file is damaged.")
        self.ledger_failing.set({(): 0})
        self.queue_failing = gauge(
            "queue_failing", "1 while a queue in a file does not work or its file is damaged.", "queue"
        )
        self.watch_failures = counter(
            "watch_failures_total",
            "Failures to find or send changes of a folder, by error.",
            "store",
            "error",
        )
        self.requests = counter(
            "store_requests_total",
            "Requests to a store; error is empty if they succeeded.",
            "store",
            "operation",
            "error",
        )
        self.request_duration = histogram(
            "store_request_duration_seconds",
            "Duration of requests to a store, including failed ones.",
            SHORT,
            "store",
            "operation",
        )
        self.special_files = counter(
            "special_files_total",
            "Files in folders that are not objects, by kind: symlink, fifo, socket, device.",
            "store",
            "kind",
        )
        self.request_retries = counter(
            "store_request_retries_total", "Requests retried within an attempt.", "store", "operation", "error"
        )
        self.breaker = gauge("breaker_state", "Circuit breaker: 0 closed, 1 half open, 2 open.", "store")
        self.waits = counter(
            "limiter_wait_seconds_total", "Time that requests have waited for a store's rate limit.", "store"
        )
        self.waiting = gauge("limiter_waiting", "Requests waiting for a store's rate limit.", "store")
        self.in_flight = gauge("in_flight", "Transfers in progress in this process.")
        self.queue = gauge(
            "queue_messages",
            "Messages in a queue: ready, leased, delayed; absent if the provider does not report them.",
            "queue",
            "state",
        )
        self.oldest = gauge(
            "queue_oldest_age_seconds",
            "Age of the oldest unacknowledged message; 0 = empty. SQS, Pub/Sub and Azure queues do not report it.",
            "queue",
        )
        self.received = gauge(
            "queue_receive_age_seconds", "Time since the last successful receive, or since the start.", "queue"
        )
        self.unsettled = gauge(
            "oldest_unsettled_age_seconds",
            "Age of the oldest known event that is not settled: in progress, waiting, or to be retried; 0 = none.",
            "route",
        )
        self.ledger = gauge("ledger_transfers", "Transfers in the ledger.", "state")
        self.letters = gauge("dead_letters_waiting", "Dead letters to be redriven or discarded.")
        self.checks = gauge(
            "check_state", "Condition of each part, as /ready answers: 0 ok, 1 degraded, 2 down.", "part", "name"
        )
        self.held = gauge("held_deletes", "Held deletes that await a decision, by the source's name.", "store")
        self.build = gauge("build_info", "Always 1; the label is the version.", "version")
        self.build.set({(__version__,): 1})

    def all(self) -> Iterable[Series]:
        """Return all metrics."""
        return vars(self).values()


class MetricsObserver(Collector):
    """Counts records, and registers itself and the metrics of the process with `registry`.

    Gauges of queues, ledger and transfers in flight have the values of the last `update`.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
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
            "dead_letter.published": lambda r: m.published.add(_count(r)),
            "dead_letter.publish_failed": lambda r: m.publish_failures.add(1, r.error),
            "dead_letter.returned": lambda r: m.returned.add(1, r.queue, r.reason),
            "store.special_file": lambda r: m.special_files.add(1, r.store, r.reason),
            "dead_letter.foreign": lambda r: m.foreign.add(1, r.queue),
            "store.request": self._request,
            "store.retry": lambda r: m.request_retries.add(1, r.store, r.operation, r.error),
            "breaker.changed": lambda r: m.breaker.values.update({(r.store,): BREAKER[r.reason]}),
            "limiter.waited": lambda r: m.waits.add(r.duration or 0.0, r.store),
        }

    def on(self, record: Record) -> None:
        """Count one record."""
        handler = self._handlers.get(record.event)
        if handler is not None:
            handler(record)

    def update(self, now: Status) -> None:
        """Set the gauges that are not counted; unknown values disappear. It is cheap enough to be called every second."""
        m = self._metrics
        m.in_flight.set({(): now.in_flight})
        m.letters.set({} if now.dead_letters is None else {(): now.dead_letters})
        m.ledger.set({(state.value,): count for state, count in now.transfers.items()})
        m.breaker.set({(store,): BREAKER[state] for store, state in now.breakers.items()})
        m.held.set(dict.fromkeys(m.held.values, 0) | {(s,): n for s, n in now.held_deletes.items()})
        m.waiting.set({(store,): count for store, count in now.limiter_waiting.items()})
        m.received.set({(name,): age for name, age in now.receives.items()})
        m.unsettled.set({(route,): age for route, age in (now.oldest or {}).items()})
        m.checks.set({(check.part, check.name): CONDITION[check.state] for check in now.checks})
        m.oldest.set({(name,): depth.oldest_age for name, depth in now.queues.items() if depth.oldest_age >= 0})
        m.queue.set(
            {
                (name, state): count
                for name, depth in now.queues.items()
                for state, count in (("ready", depth.ready), ("leased", depth.leased), ("delayed", depth.delayed))
                if count >= 0  # negative: the provider does not report it
            }
        )

    def collect(self) -> Iterable[Metric]:
        """Return all metric families for a scrape."""
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


def _count(record: Record) -> int:
    return 1 if record.count is None else record.count


def counter(name: str, help: str, *labels: str) -> Series:
    """Make a counter. One without labels exists from the start, so that its first increase is visible."""
    return Series("counter", f"skyferry_{name}", help, labels, values={} if labels else {(): 0.0})


def gauge(name: str, help: str, *labels: str) -> Series:
    """Make a gauge."""
    return Series("gauge", f"skyferry_{name}", help, labels)


def histogram(name: str, help: str, buckets: tuple[float, ...], *labels: str) -> Series:
    """Make a histogram with these upper bounds."""
    return Series("histogram", f"skyferry_{name}", help, labels, buckets)
