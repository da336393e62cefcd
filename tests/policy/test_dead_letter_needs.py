"""What the queue of dead letters needs: messages are put there and taken back, and no bucket sends to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.policy.lab import settings

from skyferry.policy import aws, google
from skyferry.policy.needs import RequiredAccess, required_access

STORES = {"s3": {"url": "s3://photos?region=eu-west-1"}, "gs": {"url": "gs://archive"}}


def found(folder: Path, url: str) -> RequiredAccess:
    document: dict[str, Any] = {"stores": STORES, "routes": [{"name": "r", "from": "s3", "to": "gs"}]}
    return required_access(settings(folder, document | {"dead_letters": {"url": url}}))


def test_at_sqs_it_is_sent_to_and_read(tmp_path: Path) -> None:
    [policy] = aws.policies(found(tmp_path, "sqs://111122223333/dead?region=eu-west-1"))
    body: Any = policy.documents["policy"]
    [actions] = [s["Action"] for s in body["Statement"] if s["Resource"] == ["arn:aws:sqs:eu-west-1:111122223333:dead"]]
    assert {"sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage"} <= set(actions)
    assert not [name for name in policy.documents if name.startswith("policy of")]


def test_at_pubsub_a_subscription_is_optional(tmp_path: Path) -> None:
    for url, subscribed in (("pubsub://p?topic=dead", False), ("pubsub://p/letters?topic=dead", True)):
        [policy] = google.policies(found(tmp_path, url))
        text = str(policy)
        assert "projects/p/topics/dead" in text
        assert ("projects/p/subscriptions/letters" in text, "subscriptions/p" in text) == (subscribed, False)
