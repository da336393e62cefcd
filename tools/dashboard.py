"""`deploy/grafana/skyferry.json`, the Grafana dashboard: `python -m tools.dashboard > FILE`.

The panels are rows of a table here, because the dashboard's JSON (schema version 39, Grafana 10.4 and newer) repeats itself.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any

COLUMNS = 24  # of Grafana's grid
HEIGHT = 8
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
WHERE = 'job=~"$job"'
QUANTILES = (0.5, 0.9, 0.99)


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel with its queries, each a pair of expression and legend."""

    title: str
    kind: str  # stat or timeseries
    unit: str  # of Grafana
    queries: tuple[tuple[str, str], ...]
    description: str = ""
    width: int = 8
    limit: float | None = None  # where it turns red


def _rate(metric: str, by: str = "") -> str:
    total = f"rate({metric}{{{WHERE}}}[$__rate_interval])"
    return f"sum by ({by}) ({total})" if by else f"sum({total})"


def _quantiles(metric: str, by: str) -> tuple[tuple[str, str], ...]:
    buckets = _rate(f"{metric}_bucket", f"{by}, le")
    return tuple((f"histogram_quantile({q}, {buckets})", f"{{{{{by}}}}} p{q * 100:g}") for q in QUANTILES)


def _within(bound: str) -> str:
    """Return the share of events by route that are settled within `bound` seconds, which is a bucket."""
    lag = "skyferry_replication_lag_seconds"
    within = f'rate({lag}_bucket{{{WHERE}, le="{bound}"}}[$__rate_interval])'
    return f"sum by (route) ({within}) / {_rate(f'{lag}_count', 'route')}"


def _gauge(metric: str, by: str, how: str = "max") -> tuple[tuple[str, str], ...]:
    legend = " ".join(f"{{{{{label}}}}}" for label in by.split(", "))
    return ((f"{how} by ({by}) ({metric}{{{WHERE}}})", legend),)


ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Now",
        (
            Panel("Processes", "stat", "none", ((f"count(skyferry_build_info{{{WHERE}}})", ""),), width=4),
            Panel(
                "Oldest event that is not settled",
                "stat",
                "s",
                ((f"max(skyferry_oldest_unsettled_age_seconds{{{WHERE}}})", ""),),
                width=5,
                limit=300,
            ),
            Panel(
                "Dead letters",
                "stat",
                "none",
                ((f"max(skyferry_dead_letters_waiting{{{WHERE}}})", ""),),
                width=5,
                limit=1,
            ),
            Panel(
                "Held deletes",
                "stat",
                "none",
                ((f"sum(max by (store) (skyferry_held_deletes{{{WHERE}}})) or vector(0)", ""),),
                "",
                5,
                1,
            ),
            Panel(
                "Parts that are down",
                "stat",
                "none",
                ((f"count(max by (part, name) (skyferry_check_state{{{WHERE}}}) == 2) or vector(0)", ""),),
                "",
                5,
                1,
            ),
        ),
    ),
    (
        "Transfers",
        (
            Panel(
                "Transfers by outcome",
                "timeseries",
                "ops",
                ((_rate("skyferry_transfers_total", "outcome"), "{{outcome}}"),),
            ),
            Panel(
                "Bytes by route", "timeseries", "Bps", ((_rate("skyferry_transfer_bytes_total", "route"), "{{route}}"),)
            ),
            Panel(
                "Lag by route",
                "timeseries",
                "s",
                _quantiles("skyferry_replication_lag_seconds", "route"),
                "Time from the event to its settlement.",
            ),
            Panel(
                "Copied within a minute",
                "timeseries",
                "percentunit",
                ((_within("60.0"), "{{route}}"),),
                "The objective of the alert SkyferryLagObjectiveMissed is 95 %.",
            ),
            Panel("Oldest event by route", "timeseries", "s", _gauge("skyferry_oldest_unsettled_age_seconds", "route")),
            Panel(
                "Duration of transfers", "timeseries", "s", _quantiles("skyferry_transfer_duration_seconds", "route")
            ),
            Panel(
                "Transfers in progress", "timeseries", "none", ((f"sum(skyferry_in_flight{{{WHERE}}})", "in flight"),)
            ),
            Panel("Retries by error", "timeseries", "ops", ((_rate("skyferry_retries_total", "error"), "{{error}}"),)),
            Panel(
                "New dead letters by reason",
                "timeseries",
                "ops",
                ((_rate("skyferry_dead_letters_total", "reason"), "{{reason}}"),),
            ),
        ),
    ),
    (
        "Queues",
        (
            Panel("Messages", "timeseries", "none", _gauge("skyferry_queue_messages", "queue, state")),
            Panel(
                "Time since the last receive", "timeseries", "s", _gauge("skyferry_queue_receive_age_seconds", "queue")
            ),
            Panel(
                "Messages by outcome",
                "timeseries",
                "ops",
                ((_rate("skyferry_messages_total", "outcome"), "{{outcome}}"),),
            ),
            Panel(
                "Bytes to copy",
                "timeseries",
                "bytes",
                (
                    (f'sum by (queue) (skyferry_backlog_bytes{{{WHERE}, state="received"}})', "{{queue}} received"),
                    (f'avg by (queue) (skyferry_backlog_bytes{{{WHERE}, state="waiting"}})', "{{queue}} waiting"),
                ),
                "Received: messages in flight, of all processes. Waiting: an estimate of the rest of the queue.",
                24,
            ),
        ),
    ),
    (
        "Stores",
        (
            Panel(
                "Requests",
                "timeseries",
                "reqps",
                ((_rate("skyferry_store_requests_total", "store, operation"), "{{store}} {{operation}}"),),
            ),
            Panel(
                "Failed requests",
                "timeseries",
                "reqps",
                (
                    (
                        f'sum by (store, error) (rate(skyferry_store_requests_total{{{WHERE}, error!=""}}[$__rate_interval]))',
                        "{{store}} {{error}}",
                    ),
                ),
            ),
            Panel(
                "Duration of requests",
                "timeseries",
                "s",
                _quantiles("skyferry_store_request_duration_seconds", "store"),
            ),
            Panel("Circuit breakers (2 = open)", "timeseries", "none", _gauge("skyferry_breaker_state", "store")),
            Panel("Condition of parts (2 = down)", "timeseries", "none", _gauge("skyferry_check_state", "part, name")),
            Panel("Waiting for a rate limit", "timeseries", "none", _gauge("skyferry_limiter_waiting", "store", "sum")),
            Panel(
                "Requests that may be in flight",
                "timeseries",
                "none",
                _gauge("skyferry_store_concurrency_limit", "store", "sum"),
                "Small requests, of all processes. The number follows latency and throttling.",
            ),
        ),
    ),
    (
        "Ledger",
        (
            Panel(
                "Duration of requests to the ledger",
                "timeseries",
                "s",
                _quantiles("skyferry_ledger_request_duration_seconds", "operation"),
                "Each is for a batch of transfers.",
            ),
            Panel("Transfers in the ledger", "timeseries", "none", _gauge("skyferry_ledger_transfers", "state")),
            Panel(
                "Failures of the ledger",
                "timeseries",
                "none",
                (
                    (f"max by (instance) (skyferry_ledger_failing{{{WHERE}}})", "{{instance}} fails"),
                    (
                        f"sum by (error) (increase(skyferry_ledger_failures_total{{{WHERE}}}[$__rate_interval])) or vector(0)",
                        "{{error}}",
                    ),
                ),
            ),
        ),
    ),
    (
        "Processes",
        (
            Panel(
                "CPU",
                "timeseries",
                "percentunit",
                ((f"rate(process_cpu_seconds_total{{{WHERE}}}[$__rate_interval])", "{{instance}}"),),
            ),
            Panel("Memory", "timeseries", "bytes", ((f"process_resident_memory_bytes{{{WHERE}}}", "{{instance}}"),)),
            Panel(
                "File descriptors",
                "timeseries",
                "percentunit",
                ((f"process_open_fds{{{WHERE}}} / process_max_fds{{{WHERE}}}", "{{instance}}"),),
            ),
        ),
    ),
)


def render_dashboard() -> str:
    """Return the JSON that Grafana imports."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS:
        panels.append({"type": "row", "title": title, "collapsed": False, "gridPos": _position(0, y, COLUMNS, 1)})
        y += 1
        x = 0
        for panel in row:
            if x + panel.width > COLUMNS:
                x, y = 0, y + HEIGHT
            height = HEIGHT // 2 if panel.kind == "stat" else HEIGHT
            panels.append(_panel(panel, _position(x, y, panel.width, height)))
            x += panel.width
        y += HEIGHT // 2 if row[0].kind == "stat" else HEIGHT
    for number, described in enumerate(panels, 1):
        described["id"] = number
    dashboard = {
        "uid": "skyferry",
        "title": "Skyferry",
        "tags": ["skyferry"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [_datasource(), _job()]},
        "annotations": {"list": []},
        "panels": panels,
    }
    return json.dumps(dashboard, indent=2) + "\n"


def _position(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _panel(panel: Panel, position: dict[str, int]) -> dict[str, Any]:
    steps: list[dict[str, object]] = [{"color": "green", "value": None}]
    if panel.limit is not None:
        steps.append({"color": "red", "value": panel.limit})
    defaults = {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "gridPos": position,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}} if panel.kind == "timeseries" else {},
        "targets": [
            {"refId": chr(ord("A") + i), "datasource": DATASOURCE, "expr": expression, "legendFormat": legend}
            for i, (expression, legend) in enumerate(panel.queries)
        ],
    }


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}


def _job() -> dict[str, Any]:
    query = "label_values(skyferry_build_info, job)"
    everything = {"includeAll": True, "allValue": ".*", "multi": True, "current": {"text": "All", "value": "$__all"}}
    return {
        "name": "job",
        "label": "Job",
        "type": "query",
        "datasource": DATASOURCE,
        "query": query,
        "refresh": 2,
        **everything,
    }


if __name__ == "__main__":
    sys.stdout.write(render_dashboard())
