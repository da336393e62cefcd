"""OpenTelemetry: a span per attempt, from `transfer.claimed` to its outcome, in the trace of the event.

Needs the extra `otel`; importing this module without it raises ConfigError.
"""

from __future__ import annotations

from dataclasses import fields

from skyferry import __version__
from skyferry.config.settings import TracingSettings
from skyferry.errors import ConfigError
from skyferry.extras import install_command
from skyferry.observe.logs import mask_credentials
from skyferry.records import Record

try:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
    from opentelemetry.trace import Span, SpanKind, Status, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ModuleNotFoundError as error:
    raise ConfigError("traces need OpenTelemetry", hint=install_command("otel")) from error

OUTCOMES: dict[str, str] = {
    "transfer.done": "done",
    "transfer.skipped": "skipped",
    "transfer.retry": "retry",
    "transfer.dead": "dead",
    "transfer.released": "released",
    "transfer.lease_lost": "lease_lost",
    "ledger.failed": "unrecorded",
}
_NAMES = tuple(f.name for f in fields(Record) if f.name not in ("event", "traceparent"))
_PROPAGATOR = TraceContextTextMapPropagator()


class TraceObserver:
    """Sends spans by OTLP over HTTP, in batches, from a separate thread.

    Attributes have the names of `Record`'s fields. If the collector does not answer, spans are lost and transfers go on.
    """

    def __init__(self, settings: TracingSettings) -> None:
        self._provider = TracerProvider(
            sampler=ParentBasedTraceIdRatio(settings.sample_rate),
            resource=Resource.create({"service.name": "skyferry", "service.version": __version__}),
            shutdown_on_exit=False,
        )
        endpoint = settings.otlp_endpoint.rstrip("/") + "/v1/traces"
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
        self._tracer = self._provider.get_tracer("skyferry", __version__)
        self._open: dict[str, Span] = {}  # by transfer id; as many as there are attempts in flight

    def on(self, record: Record) -> None:
        """Open a span at a claim and end it at the outcome."""
        if record.event == "transfer.claimed":
            self._start(record)
        elif record.event in OUTCOMES:
            self._end(record)

    def close(self) -> None:
        """End open spans and send the rest. Blocks for seconds if the collector does not answer: call it in a thread."""
        for span in self._open.values():
            span.end()
        self._open.clear()
        self._provider.shutdown()

    def _start(self, record: Record) -> None:
        stale = self._open.pop(record.transfer_id, None)
        if stale is not None:
            stale.end()
        parent = _PROPAGATOR.extract({"traceparent": record.traceparent}) if record.traceparent else None
        span = self._tracer.start_span(
            "transfer", context=parent, kind=SpanKind.CONSUMER, attributes=_attributes(record)
        )
        self._open[record.transfer_id] = span

    def _end(self, record: Record) -> None:
        span = self._open.pop(record.transfer_id, None)
        if span is None:
            return
        span.set_attributes({**_attributes(record), "outcome": OUTCOMES[record.event]})
        if record.error:
            span.set_status(Status(StatusCode.ERROR, f"{record.error}: {mask_credentials(record.message)}"))
        span.end()


def _attributes(record: Record) -> dict[str, str | int | float]:
    found = {name: getattr(record, name) for name in _NAMES}
    return {n: mask_credentials(v) if n in ("message", "hint") else v for n, v in found.items() if v or v == 0}
