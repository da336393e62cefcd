"""What doors for pushed notifications must be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from skyferry.config.load import check

CEPH = {"name": "ceph", "kind": "s3", "secret_env": "S"}


def faults(tmp_path: Path, *push: dict[str, Any]) -> list[str]:
    file = tmp_path / "skyferry.yaml"
    file.write_text(yaml.safe_dump({"push": list(push), "queues": [{"name": "main", "url": "memory://main"}]}))
    return [str(fault) for fault in check(file, {}).faults]


def test_doors_that_differ_are_no_fault(tmp_path: Path) -> None:
    assert faults(tmp_path, CEPH, {**CEPH, "name": "minio", "queue": "main"}) == []


@pytest.mark.parametrize(
    ("door", "message"),
    [
        (CEPH, "two endpoints ceph"),
        ({**CEPH, "name": "x", "queue": "other"}, "no queue other"),
        ({**CEPH, "name": "x", "secret": "hunter2"}, "not a setting"),
        ({"name": "x", "kind": "s3"}, "needs secret_env or secret_file"),
        ({"name": "x", "kind": "sns", "topics": "arn", "endpoint": "http://sns.example"}, "TLS"),
    ],
)
def test_what_cannot_work_is_a_fault(tmp_path: Path, door: dict[str, Any], message: str) -> None:
    [fault] = faults(tmp_path, CEPH, door)
    assert message in fault
    assert "hunter2" not in fault
