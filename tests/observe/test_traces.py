"""Traces, through the real exporter to a collector on loopback."""

from __future__ import annotations

import gzip
import importlib
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from skyferry.config.settings import TracingSettings
from skyferry.errors import ConfigError
from skyferry.observe.traces import TraceObserver
from skyferry.records import Record

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector:
    """Receives OTLP over HTTP and keeps the spans."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.paths: set[str] = set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                request = ExportTraceServiceRequest.FromString(body)
                collector.paths.add(self.path)
                collector.spans += [s for r in request.resource_spans for scope in r.scope_spans for s in scope.spans]
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> Collector:
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


def spans(collector: Collector, *records: Record, sample_rate: float = 1.0) -> list[Span]:
    observer = TraceObserver(TracingSettings(otlp_endpoint=collector.url, sample_rate=sample_rate))
    for record in records:
        observer.on(record)
    observer.close()
    return collector.spans


def claimed(flags: str = "01", transfer_id: str = "t-1") -> Record:
    traceparent = f"00-{TRACE}-{PARENT}-{flags}" if flags else ""
    return Record("transfer.claimed", transfer_id=transfer_id, route="r", key="k", attempt=2, traceparent=traceparent)


def attributes(span: Span) -> dict[str, object]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value") or "") for a in span.attributes}


def test_an_attempt_is_a_span_in_the_events_own_trace(collector: Collector) -> None:
    (span,) = spans(collector, claimed(), Record("transfer.done", transfer_id="t-1", bytes=9, duration=0.5))
    assert collector.paths == {"/v1/traces"}
    assert (span.trace_id.hex(), span.parent_span_id.hex(), span.name) == (TRACE, PARENT, "transfer")
    assert span.end_time_unix_nano > span.start_time_unix_nano
    assert attributes(span) == {
        "transfer_id": "t-1", "route": "r", "key": "k", "attempt": 2, "bytes": 9, "duration": 0.5, "outcome": "done",
    }  # fmt: skip
    assert span.status.code == 0


def test_each_attempt_is_a_span_of_its_own_and_a_failed_one_says_why(collector: Collector) -> None:
    failed = Record("transfer.retry", transfer_id="t-1", error="throttled", message="slow down, token=hunter2 ;")
    first, second = spans(collector, claimed(), failed, claimed(), Record("transfer.done", transfer_id="t-1"))
    assert first.span_id != second.span_id
    assert first.trace_id == second.trace_id
    assert first.status.code == 2
    assert first.status.message.startswith("throttled: slow down")
    assert b"hunter2" not in first.SerializeToString()


def test_an_event_without_a_trace_begins_one(collector: Collector) -> None:
    (span,) = spans(collector, claimed(""), Record("transfer.dead", transfer_id="t-1", error="x"))
    assert span.trace_id != bytes(16)
    assert span.parent_span_id == b""


@pytest.mark.parametrize(("flags", "expected"), [("", 0), ("00", 0), ("01", 1)])
def test_the_event_decides_about_sampling_before_the_rate_does(collector: Collector, flags: str, expected: int) -> None:
    found = spans(collector, claimed(flags), Record("transfer.done", transfer_id="t-1"), sample_rate=0.0)
    assert len(found) == expected


def test_interleaved_transfers_do_not_mix_and_what_is_open_at_the_end_is_sent(collector: Collector) -> None:
    found = spans(
        collector,
        claimed(transfer_id="a"),
        claimed(transfer_id="b"),
        Record("transfer.done", transfer_id="a"),
        Record("transfer.done", transfer_id="unknown"),
    )
    outcomes = {str(attributes(s)["transfer_id"]): attributes(s).get("outcome") for s in found}
    assert outcomes == {"a": "done", "b": None}


def test_without_the_extra_the_answer_is_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    monkeypatch.delitem(sys.modules, "skyferry.observe.traces")
    with pytest.raises(ConfigError, match=r"pip install .*\[otel\]"):
        importlib.import_module("skyferry.observe.traces")
