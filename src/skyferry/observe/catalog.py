"""The catalogue of metrics, each with its numbers."""

# ruff: noqa: RUF009 - define_* return dataclass fields, so each catalogue has its own series

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from skyferry import __version__

SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
LONG = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
LAG = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 3 * 3600, 6 * 3600, 24 * 3600)

Values = Mapping[tuple[str, ...], float]  # by label values


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

    def set(self, values: Values) -> None:
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


def define_counter(name: str, help: str, *labels: str) -> Any:
    """Define a counter. One without labels exists from the start, so that its first increase is visible."""
    return _define("counter", name, help, labels, initial={} if labels else {(): 0.0})


def define_gauge(name: str, help: str, *labels: str, initial: Values | None = None) -> Any:
    """Define a gauge."""
    return _define("gauge", name, help, labels, initial=initial or {})


def define_histogram(name: str, help: str, buckets: tuple[float, ...], *labels: str) -> Any:
    """Define a histogram with these upper bounds."""
    return _define("histogram", name, help, labels, buckets, initial={})


def _define(
    kind: Literal["counter", "gauge", "histogram"],
    name: str,
    help: str,
    labels: tuple[str, ...],
    buckets: tuple[float, ...] = (),
    *,
    initial: Values,
) -> Any:
    return field(default_factory=lambda: Series(kind, f"skyferry_{name}", help, labels, buckets, dict(initial)))


@dataclass
class Catalog:
    """All metrics of Skyferry, in the order of the documentation."""

    transfers: Series = define_counter(
        "transfers_total", "Transfers by outcome; done, skipped and dead are final.", "route", "outcome"
    )
    skips: Series = define_counter("skips_total", "Transfers without anything to do, by reason.", "route", "reason")
    duration: Series = define_histogram(
        "transfer_duration_seconds", "Time from claim to settlement of transfers done.", LONG, "route"
    )
    bytes: Series = define_counter("transfer_bytes_total", "Bytes of transfers done.", "route")
    lag: Series = define_histogram("replication_lag_seconds", "Time from the event to its settlement.", LAG, "route")
    retries: Series = define_counter("retries_total", "Failed attempts that are retried, by error.", "route", "error")
    dead: Series = define_counter(
        "dead_letters_total", "Transfers and messages that became dead letters, by error.", "reason"
    )
    published: Series = define_counter(
        "dead_letters_published_total", "Dead letters sent to the queue named by dead_letters."
    )
    publish_failures: Series = define_counter(
        "dead_letter_publish_failures_total", "Failures to send dead letters, by error.", "error"
    )
    returned: Series = define_counter(
        "dead_letters_returned_total",
        "Dead letters that came back through a queue, by outcome: redriven, stale.",
        "queue",
        "outcome",
    )
    foreign: Series = define_counter(
        "dead_letters_foreign_total",
        "Dead letters of another ledger that failed here too, and so are not sent again.",
        "queue",
    )
    events: Series = define_counter("events_total", "Events read from messages, by format.", "format")
    unrouted: Series = define_counter("events_unrouted_total", "Events of known buckets that no route takes.")
    unknown: Series = define_counter(
        "events_unknown_bucket_total",
        "Events of buckets that match no store, by outcome: kept (as dead letters), released, ignored. The first 50 "
        "buckets by name, then (others).",
        "queue",
        "bucket",
        "outcome",
    )
    ignored: Series = define_counter("events_ignored_total", "Notifications that do not concern content.", "queue")
    messages: Series = define_counter(
        "messages_total",
        "Messages by outcome: received, acked, released, test, dead.",
        "queue",
        "outcome",
    )
    queue_failures: Series = define_counter("queue_failures_total", "Failed calls to a queue.", "queue", "error")
    ledger_failures: Series = define_counter(
        "ledger_failures_total",
        "Claims that the ledger failed to grant, and outcomes that it failed to record.",
        "error",
    )
    ledger_duration: Series = define_histogram(
        "ledger_request_duration_seconds",
        "Duration of requests to the ledger, each for a batch of transfers: claim, settle.",
        SHORT,
        "operation",
    )
    ledger_failing: Series = define_gauge(
        "ledger_failing", "1 while the ledger does not work or its file is damaged.", initial={(): 0}
    )
    queue_failing: Series = define_gauge(
        "queue_failing", "1 while a queue in a file does not work or its file is damaged.", "queue"
    )
    watch_failures: Series = define_counter(
        "watch_failures_total",
        "Failures to find or send changes of a folder, by error.",
        "store",
        "error",
    )
    requests: Series = define_counter(
        "store_requests_total",
        "Requests to a store; error is empty if they succeeded.",
        "store",
        "operation",
        "error",
    )
    request_duration: Series = define_histogram(
        "store_request_duration_seconds",
        "Duration of requests to a store, including failed ones.",
        SHORT,
        "store",
        "operation",
    )
    special_files: Series = define_counter(
        "special_files_total",
        "Files in folders that are not objects, by kind: symlink, fifo, socket, device.",
        "store",
        "kind",
    )
    request_retries: Series = define_counter(
        "store_request_retries_total", "Requests retried within an attempt.", "store", "operation", "error"
    )
    breaker: Series = define_gauge("breaker_state", "Circuit breaker: 0 closed, 1 half open, 2 open.", "store")
    waits: Series = define_counter(
        "limiter_wait_seconds_total", "Time that requests have waited for a store's rate limit.", "store"
    )
    waiting: Series = define_gauge("limiter_waiting", "Requests waiting for a store's rate limit.", "store")
    limits_alone: Series = define_gauge(
        "shared_limits_fallback",
        "1 while the ledger does not answer, so that this worker keeps the limits of `shared_limits` by itself.",
        initial={(): 0},
    )
    concurrency: Series = define_gauge(
        "store_concurrency_limit",
        "Small requests that a store may have in flight; it adapts to latency and throttling.",
        "store",
    )
    in_flight: Series = define_gauge("in_flight", "Transfers in progress in this process.")
    queue: Series = define_gauge(
        "queue_messages",
        "Messages in a queue: ready, leased, delayed; absent if the provider does not report them. At Azure and R2, ready is "
        "all messages. At NATS, leased includes those that wait for a retry.",
        "queue",
        "state",
    )
    backlog: Series = define_gauge(
        "backlog_bytes",
        "Bytes that the messages of a queue ask to copy, as their events declare. received: messages in flight in this "
        "process. waiting: an estimate for the whole queue, the number of messages that no worker leases times the mean of "
        "the last 1,000 that this process has received; absent before the first, and if the provider reports no depth. "
        "Azure and R2 do not report how many messages are leased: there, the estimate leaves out those of this process only. "
        "Events without a size count as the mean, deletes as 0.",
        "queue",
        "state",
    )
    oldest: Series = define_gauge(
        "queue_oldest_age_seconds",
        "Age of the oldest unacknowledged message; 0 = empty. Only queues in files, Redis and PostgreSQL report it.",
        "queue",
    )
    received: Series = define_gauge(
        "queue_receive_age_seconds", "Time since the last successful receive, or since the start.", "queue"
    )
    unsettled: Series = define_gauge(
        "oldest_unsettled_age_seconds",
        "Age of the oldest known event that is not settled: in progress, waiting, or to be retried; 0 = none.",
        "route",
    )
    ledger: Series = define_gauge("ledger_transfers", "Transfers in the ledger.", "state")
    letters: Series = define_gauge("dead_letters_waiting", "Dead letters to be redriven or discarded.")
    checks: Series = define_gauge(
        "check_state", "Condition of each part, as /ready answers: 0 ok, 1 degraded, 2 down.", "part", "name"
    )
    held: Series = define_gauge("held_deletes", "Held deletes that await a decision, by the source's name.", "store")
    workers: Series = define_gauge("workers", "Workers of the fleet: running, draining.", "state")
    role_held: Series = define_gauge(
        "role_held",
        "1 if this process has the role, 0 if it would take it. One process of the fleet has each role.",
        "role",
    )
    routes: Series = define_gauge(
        "routes_info",
        "Always 1; the labels are digests of the routes with their stores, and of the queues. Workers of the same queues "
        "should have the same routes.",
        "routes",
        "queues",
    )
    build: Series = define_gauge(
        "build_info", "Always 1; the label is the version.", "version", initial={(__version__,): 1}
    )

    def all(self) -> Iterable[Series]:
        """Return all metrics."""
        return vars(self).values()
