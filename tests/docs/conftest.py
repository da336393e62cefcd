"""LocalStack, for the commands of AWS."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.absent import absent

from skyferry.testing.servers import LocalStack, ServerMissing, localstack


@pytest.fixture(scope="session")
def aws_server() -> Iterator[LocalStack]:
    try:
        with localstack(("s3", "sqs", "iam", "sts", "sns")) as running:
            yield running
    except ServerMissing as missing:
        absent(missing)
