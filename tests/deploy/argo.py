"""An AnalysisRun as the controller of Argo Rollouts makes it from a template: `metricproviders/prometheus`, `utils/evaluate` and
`analysis` in https://github.com/argoproj/argo-rollouts (1.9)."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Manifest = dict[str, Any]
Phase = Literal["Running", "Failed", "Error"]
OPERATORS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}
CONDITION = re.compile(r"result\[0\] (<=|>=|<|>) ([0-9.]+)")


@dataclass
class AnalysisMetric:
    """One metric of a run, and its measurements so far; None = an error."""

    name: str
    query: str
    condition: str
    failure_limit: int
    error_limit: int
    values: list[float | None] = field(default_factory=list)
    failures: int = 0
    errors: int = 0  # in succession

    def add(self, series: Sequence[Mapping[str, Any]]) -> None:
        """Take the answer to one query. A condition on an empty result is an error, NaN fulfils none."""
        found = CONDITION.fullmatch(self.condition)
        assert found, f"a condition that this file does not know: {self.condition}"
        if not series:
            self.values.append(None)
            self.errors += 1
            return
        value = float(series[0]["value"][1])
        self.values.append(value)
        self.errors = 0
        self.failures += not OPERATORS[found[1]](value, float(found[2]))

    @property
    def phase(self) -> Phase:
        """The phase of the metric."""
        if self.failures > self.failure_limit:
            return "Failed"
        return "Error" if self.errors > self.error_limit else "Running"


class AnalysisRun:
    """A run in the background: it lasts as long as the steps, or until a metric fails."""

    def __init__(self, template: Manifest, arguments: Mapping[str, str]) -> None:
        spec = template["spec"]
        assert {each["name"] for each in spec["args"]} == set(arguments)
        self.metrics = [
            AnalysisMetric(
                each["name"],
                _fill_in(each["provider"]["prometheus"]["query"], arguments),
                each["successCondition"],
                each["failureLimit"],
                each["consecutiveErrorLimit"],
            )
            for each in spec["metrics"]
        ]

    def measure(self, query: Callable[[str], Sequence[Mapping[str, Any]]]) -> None:
        """Measure each metric once."""
        for metric in self.metrics:
            metric.add(query(metric.query))

    @property
    def failed(self) -> list[str]:
        """The metrics that end the rollout."""
        return [metric.name for metric in self.metrics if metric.phase != "Running"]


def _fill_in(query: str, arguments: Mapping[str, str]) -> str:
    filled = re.sub(r"\{\{args\.([\w-]+)\}\}", lambda found: arguments[found[1]], query)
    assert "{{" not in filled
    return filled
