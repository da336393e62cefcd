"""Metrics: the effect of each record, the scrape, and the limits of labels."""

from __future__ import annotations

import re
from dataclasses import fields, replace

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from skyferry import __version__
from skyferry.model import State
from skyferry.observe import MetricsObserver
from skyferry.observe.catalog import Catalog
from skyferry.ports import Depth, WorkerState
from skyferry.records import EVENTS, Record
from skyferry.status import HealthCheck, QueueBytes, Status

NOW = Status(
    version="1",
    started_at=0.0,
    state="running",
    in_flight=3,
    queues={"main": Depth(5, 2, -1, 12.5)},
    transfers={State.DONE: 7},
    dead_letters=4,
    breakers={"dst": "half_open"},
    held_deletes={"src": 4},
    limiter_waiting={"dst": 9},
    concurrency={"dst": 70},
    receives={"main": 3.5},
    oldest={"photos": 400.0, "videos": 0.0},
    checks=(HealthCheck("queue", "main", "degraded", "…"),),
    backlog={"main": QueueBytes(100, 20.0)},
    workers={WorkerState.RUNNING: 3, WorkerState.DRAINING: 1},
    roles={"gauges": True, "deletes": False},
    digests=("1a2b", "3c4d"),
)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def observer(registry: CollectorRegistry) -> MetricsObserver:
    return MetricsObserver(registry)


def test_a_transfer_done_counts_itself_its_bytes_its_duration_and_its_lag(
    registry: CollectorRegistry, observer: MetricsObserver
) -> None:
    for duration in (0.02, 400.0):
        observer.on(Record("transfer.done", route="r", bytes=100, duration=duration, lag=7200.0))
    value = registry.get_sample_value
    assert value("skyferry_transfers_total", {"route": "r", "outcome": "done"}) == 2
    assert value("skyferry_transfer_bytes_total", {"route": "r"}) == 200
    assert value("skyferry_transfer_duration_seconds_count", {"route": "r"}) == 2
    assert value("skyferry_transfer_duration_seconds_sum", {"route": "r"}) == 400.02
    assert value("skyferry_transfer_duration_seconds_bucket", {"route": "r", "le": "0.01"}) == 0
    assert value("skyferry_transfer_duration_seconds_bucket", {"route": "r", "le": "0.025"}) == 1
    assert value("skyferry_transfer_duration_seconds_bucket", {"route": "r", "le": "+Inf"}) == 2
    assert value("skyferry_replication_lag_seconds_bucket", {"route": "r", "le": "3600.0"}) == 0
    assert value("skyferry_replication_lag_seconds_bucket", {"route": "r", "le": "10800.0"}) == 2


def test_a_measurement_on_a_bound_belongs_to_its_bucket_and_one_below_zero_to_the_first(
    registry: CollectorRegistry, observer: MetricsObserver
) -> None:
    observer.on(Record("transfer.done", route="r", lag=0.1))
    observer.on(Record("transfer.done", route="r", lag=-5.0))
    assert registry.get_sample_value("skyferry_replication_lag_seconds_bucket", {"route": "r", "le": "0.1"}) == 2
    assert registry.get_sample_value("skyferry_replication_lag_seconds_sum", {"route": "r"}) == 0.1


@pytest.mark.parametrize(
    ("record", "name", "labels", "value"),
    [
        (
            Record("transfer.skipped", route="r", reason="current"),
            "skips_total",
            {"route": "r", "reason": "current"},
            1,
        ),
        (Record("transfer.retry", route="r", error="throttled"), "retries_total", {"route": "r", "error": "throttled"}, 1),
        (Record("transfer.dead", route="r", error="bucket_not_found"), "dead_letters_total", {"reason": "bucket_not_found"}, 1),
        (Record("message.dead", queue="q", error="unknown_format"), "dead_letters_total", {"reason": "unknown_format"}, 1),
        (Record("message.dead", queue="q", error="unknown_format"), "messages_total", {"queue": "q", "outcome": "dead"}, 1),
        (Record("queue.received", queue="q", count=7), "messages_total", {"queue": "q", "outcome": "received"}, 7),
        (Record("message.acked", queue="q", count=6), "messages_total", {"queue": "q", "outcome": "acked"}, 6),
        (Record("queue.failed", queue="q", error="queue_error"), "queue_failures_total", {"queue": "q", "error": "queue_error"}, 1),
        (Record("ledger.failed", error="ledger_error"), "ledger_failures_total", {"error": "ledger_error"}, 1),
        (Record("event.received", reason="s3"), "events_total", {"format": "s3"}, 1),
        (Record("event.unrouted", reason="gcs"), "events_total", {"format": "gcs"}, 1),
        (Record("event.unrouted", reason="gcs"), "events_unrouted_total", {}, 1),
        (Record("event.ignored", queue="q", reason="ObjectTagging:Put"), "events_ignored_total", {"queue": "q"}, 1),
        (Record("breaker.changed", store="s", reason="open"), "breaker_state", {"store": "s"}, 2),
        (Record("limiter.waited", store="s", duration=1.5), "limiter_wait_seconds_total", {"store": "s"}, 1.5),
        (
            Record("store.request", store="s", operation="read", duration=0.1, error="throttled"),
            "store_requests_total",
            {"store": "s", "operation": "read", "error": "throttled"},
            1,
        ),
        (
            Record("store.retry", store="s", operation="read", error="throttled"),
            "store_request_retries_total",
            {"store": "s", "operation": "read", "error": "throttled"},
            1,
        ),
    ],
)  # fmt: skip
def test_a_record_counts_where_it_belongs(
    record: Record,
    name: str,
    labels: dict[str, str],
    value: float,
    registry: CollectorRegistry,
    observer: MetricsObserver,
) -> None:
    observer.on(record)
    assert registry.get_sample_value(f"skyferry_{name}", labels) == value


@pytest.mark.parametrize("event", [e for e in EVENTS if e.startswith("transfer.") and e != "transfer.claimed"])
def test_every_outcome_of_a_transfer_is_counted(
    event: str, registry: CollectorRegistry, observer: MetricsObserver
) -> None:
    observer.on(Record(event, route="r"))  # type: ignore[arg-type]  # one of EVENTS
    labels = {"route": "r", "outcome": event.removeprefix("transfer.")}
    assert registry.get_sample_value("skyferry_transfers_total", labels) == 1


def test_a_scrape_has_what_is_known_at_its_time(registry: CollectorRegistry, observer: MetricsObserver) -> None:
    counts = iter([1, 2])
    observer.status = lambda: replace(NOW, in_flight=next(counts))
    assert [registry.get_sample_value("skyferry_in_flight") for _ in range(2)] == [1, 2]


def test_a_snapshot_sets_the_gauges_and_what_is_gone_disappears(
    registry: CollectorRegistry, observer: MetricsObserver
) -> None:
    observer.update(replace(NOW, queues={"old": Depth(1, 1, 1, 1.0)}))
    observer.update(NOW)
    value = registry.get_sample_value
    assert value("skyferry_in_flight") == 3
    assert value("skyferry_dead_letters_waiting") == 4
    assert value("skyferry_ledger_transfers", {"state": "done"}) == 7
    assert value("skyferry_breaker_state", {"store": "dst"}) == 1
    assert value("skyferry_limiter_waiting", {"store": "dst"}) == 9
    assert value("skyferry_store_concurrency_limit", {"store": "dst"}) == 70
    assert value("skyferry_held_deletes", {"store": "src"}) == 4
    assert value("skyferry_queue_oldest_age_seconds", {"queue": "main"}) == 12.5
    assert value("skyferry_queue_messages", {"queue": "main", "state": "ready"}) == 5
    assert value("skyferry_queue_messages", {"queue": "main", "state": "delayed"}) is None, (
        "the provider does not report it"
    )
    assert value("skyferry_queue_messages", {"queue": "old", "state": "ready"}) is None
    assert value("skyferry_backlog_bytes", {"queue": "main", "state": "received"}) == 100
    assert value("skyferry_backlog_bytes", {"queue": "main", "state": "waiting"}) == 5 * 20
    assert value("skyferry_queue_receive_age_seconds", {"queue": "main"}) == 3.5
    assert value("skyferry_oldest_unsettled_age_seconds", {"route": "photos"}) == 400
    assert value("skyferry_oldest_unsettled_age_seconds", {"route": "videos"}) == 0
    assert value("skyferry_check_state", {"part": "queue", "name": "main"}) == 1
    assert value("skyferry_workers", {"state": "running"}) == 3
    assert value("skyferry_role_held", {"role": "gauges"}) == 1
    assert value("skyferry_role_held", {"role": "deletes"}) == 0
    assert value("skyferry_routes_info", {"routes": "1a2b", "queues": "3c4d"}) == 1


def test_one_process_exports_the_gauges_of_the_fleet(registry: CollectorRegistry, observer: MetricsObserver) -> None:
    """One that has lost the role exports only what is its own."""
    observer.update(NOW)
    observer.update(replace(NOW, exports_ledger=False, own_oldest={"videos": 3.0}))
    families = {metric.name: metric for metric in registry.collect()}
    for name in ("dead_letters_waiting", "ledger_transfers", "held_deletes", "workers"):
        assert not families[f"skyferry_{name}"].samples, name
    value = registry.get_sample_value
    assert value("skyferry_oldest_unsettled_age_seconds", {"route": "videos"}) == 3, "no other process knows its event"
    assert value("skyferry_oldest_unsettled_age_seconds", {"route": "photos"}) is None
    assert value("skyferry_queue_messages", {"queue": "main", "state": "ready"}) == 5, "another role"
    assert value("skyferry_in_flight") == 3
    assert value("skyferry_check_state", {"part": "queue", "name": "main"}) == 1
    observer.update(replace(NOW, exports_queues=False))
    assert value("skyferry_dead_letters_waiting") == 4
    assert value("skyferry_queue_messages", {"queue": "main", "state": "ready"}) is None
    assert value("skyferry_queue_oldest_age_seconds", {"queue": "main"}) is None


def test_what_cannot_be_asked_has_no_value(registry: CollectorRegistry, observer: MetricsObserver) -> None:
    """An old value would look as if all were well."""
    observer.update(NOW)
    observer.update(replace(NOW, queues={}, transfers={}, dead_letters=None, oldest=None))
    page = generate_latest(registry).decode()
    for name in ("queue_messages", "queue_oldest_age", "ledger_transfers", "dead_letters_waiting", "oldest_unsettled"):
        assert not re.search(rf"^skyferry_{name}", page, re.MULTILINE), name
    assert registry.get_sample_value("skyferry_queue_receive_age_seconds", {"queue": "main"}) == 3.5


def exercised(observer: MetricsObserver) -> None:
    """Send every event with every field filled."""
    texts = {f.name: f"<{f.name}>" for f in fields(Record) if f.type == "str"}
    for event in EVENTS:
        reason = {"reason": "open"} if event == "breaker.changed" else {}
        observer.on(Record(event, **{**texts, **reason}, bytes=1, duration=1.0, lag=1.0, count=1))  # type: ignore[arg-type]  # one of EVENTS
    observer.update(NOW)


def test_keys_and_ids_are_never_labels(registry: CollectorRegistry, observer: MetricsObserver) -> None:
    exercised(observer)
    page = generate_latest(registry).decode()
    assert not re.search(r"<(key|event_id|transfer_id|correlation_id|message|hint|traceparent)>", page)


def test_every_metric_is_moved_by_some_record_or_by_the_snapshot(
    registry: CollectorRegistry, observer: MetricsObserver
) -> None:
    exercised(observer)
    families = {metric.name: metric for metric in registry.collect()}
    for series in Catalog().all():
        assert families[series.name.removesuffix("_total")].samples, series.name


def test_a_count_without_labels_is_nought_before_the_first(
    registry: CollectorRegistry, observer: MetricsObserver
) -> None:
    assert registry.get_sample_value("skyferry_events_unrouted_total") == 0
    assert registry.get_sample_value("skyferry_dead_letters_published_total") == 0


def test_names_follow_the_conventions_and_openmetrics_reads_them(
    registry: CollectorRegistry, observer: MetricsObserver
) -> None:
    exercised(observer)
    for series in Catalog().all():
        assert series.name.startswith("skyferry_")
        assert series.name.endswith("_total") == (series.kind == "counter")
        assert series.help.endswith(".")
    page = exposition.generate_latest(registry).decode()  # type: ignore[no-untyped-call]  # the library has no types here
    families = list(text_string_to_metric_families(page))  # type: ignore[no-untyped-call]  # nor here
    assert len(families) >= len(list(Catalog().all()))


def test_the_build_and_the_process_are_described(registry: CollectorRegistry, observer: MetricsObserver) -> None:
    assert registry.get_sample_value("skyferry_build_info", {"version": __version__}) == 1
    assert registry.get_sample_value("process_resident_memory_bytes")


def test_two_registries_do_not_share_numbers(registry: CollectorRegistry, observer: MetricsObserver) -> None:
    other = CollectorRegistry()
    MetricsObserver(other).on(Record("event.unrouted"))
    assert registry.get_sample_value("skyferry_events_unrouted_total") == 0
    assert other.get_sample_value("skyferry_events_unrouted_total") == 1


def test_a_second_observer_on_one_registry_is_refused(registry: CollectorRegistry, observer: MetricsObserver) -> None:
    with pytest.raises(ValueError, match="Duplicated"):
        MetricsObserver(registry)


def test_foreign_buckets_are_counted_by_name_until_there_are_very_many(
    registry: CollectorRegistry, observer: MetricsObserver
) -> None:
    """A sender may name any number of them."""
    for number in range(1000):
        for _ in range(2):
            observer.on(
                Record(
                    "event.unknown_bucket", queue="q", bucket=f"s3://{number}", reason="kept", error="unrouted_bucket"
                )
            )
    observer.on(Record("event.passed_over", queue="q", bucket="s3://7", reason="ignored"))
    name = "skyferry_events_unknown_bucket_total"
    values = {s.labels["bucket"]: s.value for m in registry.collect() for s in m.samples if s.name == name}
    assert len(values) == 51
    assert (values["s3://49"], values["(others)"]) == (2, 2 * 950)
    assert registry.get_sample_value(name, {"queue": "q", "bucket": "s3://7", "outcome": "ignored"}) == 1
    assert registry.get_sample_value("skyferry_dead_letters_total", {"reason": "unrouted_bucket"}) == 2000
