"""Each measurement of the canary's analysis, with series that promtool makes: what passes, and what ends the canary."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.absent import absent
from tests.deploy.argo import AnalysisRun
from tests.deploy.test_chart import CHART, _installed, render
from tools import kubernetes

from skyferry.testing.servers import ServerMissing

PODS = {"canary": "prod-skyferry-c1-aaaaa", "stable": "prod-skyferry-s1-bbbbb"}
FAILED, LATE, DONE = (
    'transfers_total{outcome="retry",',
    'replication_lag_seconds_bucket{le="60.0",',
    'transfers_total{outcome="done",',
)
COUNT, STATE = "replication_lag_seconds_count{", 'check_state{part="store",name="a",'
TIMES, DURATION = "transfer_duration_seconds_count{", "transfer_duration_seconds_sum{"
UP = {("canary", "build_info{"): "1x20", ("stable", "build_info{"): "1x20"}
Series = dict[tuple[str, str], str]  # pod and metric -> values each 15 s, as promtool writes them

BOTH: Series = {(pod, TIMES): "0+1x20" for pod in PODS}

CASES: list[tuple[str, Series, float]] = [  # the metric, the series, its value after five minutes
    ("presence", {}, 0),
    ("presence", UP, 1),
    ("presence", dict.fromkeys(UP, "1x19 stale"), 1),  # a scrape that failed
    ("presence", dict.fromkeys(UP, "1x8 stale"), 0),
    ("failures", {}, 0),
    ("failures", {("canary", FAILED): "0x8 2x12", ("canary", DONE): "0+1x20"}, 0),  # two are too few
    ("failures", {("canary", FAILED): "0+1x20", ("canary", DONE): "0+3x20"}, 0.25),
    ("failures", {(p, m): v for p in PODS for m, v in ((FAILED, "0+1x20"), (DONE, "0+3x20"))}, 0),
    ("lag", {}, 0),
    ("lag", {("canary", LATE): "0+3x20", ("canary", COUNT): "0+4x20"}, 0.25),
    ("lag", {(p, m): v for p in PODS for m, v in ((LATE, "0+3x20"), (COUNT, "0+4x20"))}, 0),
    ("slowness", {}, 1),
    ("slowness", {("canary", TIMES): "0+1x20", ("canary", DURATION): "0+1x20"}, 1),  # nothing to compare with
    ("slowness", {("canary", DURATION): "0+9x20", ("stable", DURATION): "0+3x20"} | BOTH, 3),
    ("slowness", {("canary", DURATION): "0+0.25x20", ("stable", DURATION): "0+0.0625x20"} | BOTH, 2.5),  # of 0.1 s
    ("stuck", {}, 0),
    ("stuck", {("canary", "in_flight{"): "10x20", ("canary", DONE): "5x20"}, 1),
    ("stuck", {("canary", "in_flight{"): "9x20", ("canary", DONE): "5x20"}, 0),
    ("stuck", {("canary", "in_flight{"): "10x20", ("canary", DONE): "0+1x20"}, 0),
    ("stuck", {(p, m): v for p in PODS for m, v in (("in_flight{", "10x20"), (DONE, "5x20"))}, 0),
    ("health", {}, 0),
    ("health", {("canary", STATE): "2x20", ("stable", STATE): "1x20"}, 1),
    ("health", {("canary", STATE): "2x20", ("stable", STATE): "2x20"}, 0),
]  # fmt: skip


def test_each_measurement(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        absent(ServerMissing("prometheus"))
    template = render(_installed(kubernetes.helm), CHART / "ci" / "rollout.yaml")["AnalysisTemplate"]
    run = AnalysisRun(template, {"canary": "c1", "stable": "s1"})
    queries = {metric.name: metric.query for metric in run.metrics}
    assert {name for name, _, _ in CASES} == set(queries)
    tests: list[dict[str, Any]] = [
        {
            "name": f"{name} {number}",
            "interval": "15s",
            "input_series": [
                {"series": f'skyferry_{metric}pod="{PODS[pod]}"}}', "values": values}
                for (pod, metric), values in series.items()
            ],
            "promql_expr_test": [
                {"expr": queries[name], "eval_time": "5m", "exp_samples": [{"labels": "{}", "value": value}]}
            ],
        }
        for number, (name, series, value) in enumerate(CASES)
    ]
    (tmp_path / "tests.yaml").write_text(json.dumps({"rule_files": [], "tests": tests}))
    command: list[str | Path] = [promtool, "test", "rules", tmp_path / "tests.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
