"""A queue of SQS by the names that Amazon's console and tools show."""

from __future__ import annotations

import pytest

from skyferry.config.urls import QueueUrl


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("arn:aws:sqs:eu-west-1:123456789012:photos", "sqs://123456789012/photos?region=eu-west-1"),
        ("arn:aws-cn:sqs:cn-north-1:123456789012:a.fifo", "sqs://123456789012/a.fifo?region=cn-north-1"),
        ("https://sqs.eu-west-1.amazonaws.com/123456789012/photos", "sqs://123456789012/photos?region=eu-west-1"),
        ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/q", "sqs://123456789012/q?region=cn-north-1"),
        ("https://us-west-2.queue.amazonaws.com/123456789012/q", "sqs://123456789012/q?region=us-west-2"),
        ("https://queue.amazonaws.com/123456789012/q", "sqs://123456789012/q?region=us-east-1"),
        ("http://127.0.0.1:4566/000000000000/q", "sqs://000000000000/q?endpoint=http://127.0.0.1:4566"),
        (
            "http://sqs.us-east-1.localhost.localstack.cloud:4566/000000000000/q",
            "sqs://000000000000/q?endpoint=http://sqs.us-east-1.localhost.localstack.cloud:4566&region=us-east-1",
        ),
    ],
)
def test_an_arn_or_https_url_names_the_queue(name: str, url: str) -> None:
    assert QueueUrl.parse(name) == QueueUrl.parse(url)


@pytest.mark.parametrize(
    "name", ["arn:aws:sns:eu-west-1:123456789012:t", "https://example.org/q", "https://u:p@h/123/q"]
)
def test_other_names_are_refused_with_the_known_forms(name: str) -> None:
    with pytest.raises(ValueError, match="is not a known queue URL: use sqs://QUEUE") as refused:
        QueueUrl.parse(name)
    assert "u:p" not in str(refused.value)
