"""Where dead letters are sent too: what cannot work there is told like everything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from skyferry.config.load import Checked, check

QUEUES = [
    {"name": "sqs", "url": "sqs://events?region=eu-west-1"},
    {"name": "pubsub", "url": "pubsub://p/events?topic=changes"},
    {"name": "azure", "url": "azq://account/events"},
    {"name": "local", "url": "sqlite://queue.db"},
]


def checked(tmp_path: Path, letters: Any) -> Checked:
    """With a queue of each kind."""
    file = tmp_path / "skyferry.yaml"
    file.write_text(yaml.safe_dump({"dead_letters": letters, "queues": QUEUES}, sort_keys=False))
    return check(file, {})


@pytest.mark.parametrize(
    ("letters", "where", "message"),
    [
        ({"url": "sqs://events?region=eu-west-1"}, "dead_letters.url", "is the queue sqs"),
        ({"url": "sqs://123456789012/events"}, "dead_letters.url", "is the queue sqs"),
        ({"url": "pubsub://p/other?topic=changes"}, "dead_letters.url", "is the queue pubsub"),
        ({"url": "pubsub://q?topic=projects/p/topics/changes"}, "dead_letters.url", "is the queue pubsub"),
        ({"url": "azq://account/events"}, "dead_letters.url", "is the queue azure"),
        ({"url": "sqlite://queue.db"}, "dead_letters.url", "is used twice"),
        ({"url": "sqlite://ledger.db"}, "ledger.url", "is used twice"),
        ({"url": "memory://dead"}, "dead_letters.url", "is lost when the process ends"),
        ({"url": "pubsub://p/dead"}, "dead_letters.url", "need a topic"),
        ({"url": "sqs://dead?endpoint=http://example.org"}, "dead_letters.url", "without TLS"),
        ({"url": "kafka://dead"}, "dead_letters.url", "is not a known queue URL"),
        ({"url": "sqs://dead", "secret_key": "hunter2"}, "dead_letters.secret_key", "must not contain a secret"),
        ({"url": "sqs://dead", "regio": "eu"}, "dead_letters.regio", "is not a setting"),
        ({"name": "dead"}, "dead_letters.url", "is missing"),
        ("sqs://dead", "dead_letters", "must be a section"),
    ],
)
def test_what_cannot_work_is_a_fault(tmp_path: Path, letters: Any, where: str, message: str) -> None:
    found = checked(tmp_path, letters)
    assert [(f.where, message in f.message) for f in found.faults] == [(where, True)], found.faults
    assert where.startswith("ledger") or found.faults[0].line is not None
    assert "hunter2" not in str(found.faults[0])


def test_the_error_of_a_misspelt_setting_names_the_right_one(tmp_path: Path) -> None:
    [fault] = checked(tmp_path, {"url": "sqs://dead", "regio": "eu"}).faults
    assert fault.hint == "Did you mean region?"


@pytest.mark.parametrize(
    "letters",
    [
        {"url": "sqs://dead", "region": "eu-west-1"},
        {"url": "sqs://events?region=eu-central-1"},
        {"url": "sqs://events?endpoint=https://sqs.example.org"},
        {"url": "pubsub://p?topic=dead"},
        {"url": "pubsub://p/dead", "topic": "dead"},
        {"url": "azq://other/events"},
        {"url": "sqlite://dead.db", "name": "gone"},
    ],
)
def test_what_works_has_neither_faults_nor_warnings(tmp_path: Path, letters: Any) -> None:
    found = checked(tmp_path, letters)
    assert (found.faults, found.warnings) == ((), ())


def test_without_it_there_is_no_queue_for_them(tmp_path: Path) -> None:
    assert check(None, {}).settings.dead_letters is None
