"""The number of processes and their shares."""

from __future__ import annotations

import pytest

from skyferry.config.load import load
from skyferry.config.settings import StoreSettings
from skyferry.errors import ConfigError
from skyferry.processes.counts import parse_processes, share_limits, warn_of_cores
from skyferry.processes.record_frames import RecordBuffer, unpack_records
from skyferry.records import Record

RECORDS = [
    Record("store.request", store="s", operation="write", error="throttled", bytes=3, duration=0.5, key="k"),
    Record("transfer.done", key="k", correlation_id="c", bytes=0, lag=0.0),
    Record("service.draining"),
]


def test_auto_is_one_for_each_core() -> None:
    assert [parse_processes(text, 6) for text in ("1", "4", "64", "auto")] == [1, 4, 64, 6]


@pytest.mark.parametrize("text", ["0", "-1", "65", "1.5", "", "AUTO", "99999999999999999999", "²"])
def test_other_numbers_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="give a number from 1 to 64, or auto"):
        parse_processes(text, 2)


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
    buffer = RecordBuffer(full=True)
    for record in RECORDS:
        buffer.on(record)
    arrived = unpack_records(buffer.take(), "2")
    assert {record.worker for record in arrived} == {"2"}
    for record in arrived:
        object.__setattr__(record, "worker", "")
    assert arrived == RECORDS
    assert not buffer.take()


def test_frequent_records_have_only_the_fields_of_metrics_unless_all_are_wanted() -> None:
    buffer = RecordBuffer(full=False)
    for record in RECORDS:
        buffer.on(record)
    request, done, _ = unpack_records(buffer.take(), "1")
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
    buffer = RecordBuffer(full=False)
    for record in RECORDS:
        buffer.on(record)
    assert (len(buffer.take()), buffer.lost) == (2, 1)
