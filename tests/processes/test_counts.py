"""The number of processes and their shares."""

from __future__ import annotations

from dataclasses import replace

import pytest

from skyferry.cli.render.copy_progress import CopyProgress
from skyferry.config.load import load
from skyferry.config.settings import LimitSettings, StoreSettings
from skyferry.errors import ConfigError
from skyferry.processes.counts import parse_processes, share_limits, warn_of_cores
from skyferry.processes.record_frames import Detail, RecordBuffer, unpack_records
from skyferry.records import Record

LIMITS = LimitSettings()
RECORDS = [
    Record("store.request", store="s", operation="write", error="throttled", bytes=3, duration=0.5, key="k"),
    Record("transfer.done", key="k", correlation_id="c", bytes=0, lag=0.0),
    Record("service.draining"),
]


def test_auto_is_one_for_each_core() -> None:
    assert [parse_processes(text, 6, LIMITS) for text in ("1", "4", "64", "auto")] == [1, 4, 64, 6]


def test_auto_is_as_many_as_have_a_share_of_the_limits() -> None:
    """Each of 16 processes would copy an object, although two are allowed."""
    assert parse_processes("auto", 16, LIMITS.model_copy(update={"transfers": 2})) == 2
    assert parse_processes("auto", 16, LIMITS.model_copy(update={"memory": 7 * LIMITS.part_size})) == 3
    assert parse_processes("auto", 16, LIMITS.model_copy(update={"memory": LIMITS.part_size})) == 1


def test_more_processes_than_transfers_are_refused() -> None:
    settings = load(None, {})
    few = settings.model_copy(update={"limits": LIMITS.model_copy(update={"transfers": 2})})
    assert share_limits(few, 2).limits.transfers == 1
    with pytest.raises(ConfigError, match="3 processes are more than the 2 transfers"):
        share_limits(few, 3)


@pytest.mark.parametrize("text", ["0", "-1", "65", "1.5", "", "AUTO", "99999999999999999999", "²"])
def test_other_numbers_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="give a number from 1 to 64, or auto"):
        parse_processes(text, 2, LIMITS)


def test_more_processes_than_cores_are_warned_of() -> None:
    assert not warn_of_cores(2, 2)
    assert "more than the 2 cores" in warn_of_cores(3, 2)


def test_the_shares_are_together_the_configured_limits() -> None:
    settings = load(None, {})
    store = StoreSettings(url="file://x", requests_per_second=10, bytes_per_second=1001)
    settings = settings.model_copy(update={"stores": {"x": store}})
    shared = share_limits(settings, 4)
    for name in (
        "transfers",
        "max_in_flight_messages",
        "waiting_messages",
        "waiting_memory",
        "memory",
        "large_transfers",
    ):
        assert getattr(shared.limits, name) * 4 == getattr(settings.limits, name), name
    assert shared.stores["x"].requests_per_second == 2.5
    assert shared.stores["x"].bytes_per_second == 251
    assert share_limits(settings, 8).limits.large_transfers == 1, "none has nothing"


def test_rates_that_workers_share_are_not_divided() -> None:
    """The ledger divides them."""
    store = StoreSettings(url="file://x", requests_per_second=10, bytes_per_second=1001, shared_limits=True)
    settings = load(None, {}).model_copy(update={"stores": {"x": store}})
    assert share_limits(settings, 4).stores["x"] == store


def test_records_arrive_with_the_id_of_their_worker() -> None:
    buffer = RecordBuffer("all")
    for record in RECORDS:
        buffer.on(record)
    arrived = unpack_records(buffer.take(), "2", "all")
    assert {record.worker for record in arrived} == {"2"}
    for record in arrived:
        object.__setattr__(record, "worker", "")
    assert arrived == RECORDS
    assert not buffer.take()


def test_frequent_records_have_only_the_fields_of_metrics_unless_all_are_wanted() -> None:
    buffer = RecordBuffer("metrics")
    for record in RECORDS:
        buffer.on(record)
    request, done, _ = unpack_records(buffer.take(), "1", "metrics")
    assert (request.store, request.error, request.bytes, request.duration, request.key) == (
        "s",
        "throttled",
        3,
        0.5,
        "",
    )
    assert (done.key, done.correlation_id, done.bytes) == ("k", "c", 0)


def test_a_parent_that_hangs_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RecordBuffer, "MOST", 2)
    buffer = RecordBuffer("metrics")
    for record in RECORDS:
        buffer.on(record)
    assert (len(buffer.take()), buffer.lost) == (2, 1)


def make_copies(count: int) -> list[Record]:
    """Return the records of copies, with an outage of the destination in the middle, and other ends."""
    made = []
    for number in range(count):
        key = f"k{number}"
        made += [
            Record("event.received", reason="native"),
            Record("transfer.claimed", key=key, route="r", store="destination", attempt=1, transfer_id="t"),
            Record("store.request", store="source", operation="read", bytes=number, duration=0.1, key=key),
        ]
        if number == count // 2:
            failed = Record("store.request", store="destination", operation="write", error="unavailable", key=key)
            made += [failed, replace(failed, event="store.retry", message="refused")]
        if number == count // 3:
            made += [Record("transfer.retry", key=key, error="throttled", message="later", delay=1.0)]
        made.append(
            Record("store.request", store="destination", operation="write", bytes=number, duration=0.1, key=key)
        )
        made.append(Record("transfer.done", key=key, bytes=number, duration=0.2, correlation_id="c"))
    return [*made, Record("transfer.dead", key="x", error="denied", message="no"), Record("transfer.claimed", key="y")]


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_a_copy_shows_the_same_from_what_is_sent_as_from_all_records(
    batch: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Counts, bytes, failures, unfinished objects, and the outage and its end, however the records are divided."""
    records, shown = make_copies(20), []
    details: tuple[Detail, ...] = ("all", "progress")
    for detail in details:
        progress, buffer = CopyProgress(verbose=True), RecordBuffer(detail)
        for start in range(0, len(records), batch):
            for record in records[start : start + batch]:
                buffer.on(record)
            for record in unpack_records(buffer.take(), "1", detail):
                progress.on(record)
        document = {**progress.to_document("a", "b"), "seconds": 0}
        unfinished = [record.key for record in progress.stalls.unfinished()]
        shown.append((document, progress.moved, unfinished, progress.stalls.error, capsys.readouterr().err))
    assert shown[0] == shown[1]
    assert shown[1][1:3] == (sum(range(20)), ["y"])
    assert shown[1][4].count("the destination responds again") == 1


def test_a_copy_gets_few_records_of_each_object() -> None:
    buffer = RecordBuffer("progress")
    for record in make_copies(1000):
        buffer.on(record)
    assert len(buffer.take()) < 2020
    assert not buffer.take()
