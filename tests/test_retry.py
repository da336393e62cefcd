"""When a failed attempt is tried again, and whether it counts."""

from __future__ import annotations

import pytest

from skyferry.errors import ConnectionLost, OutOfResources, PermissionDenied, SkyferryError, StoreError, Throttled
from skyferry.retry import Abandon, Backoff, RetryAfter, decide_retry

LAST = 4  # attempt, of three retries


@pytest.mark.parametrize(
    ("error", "healthy", "found"),
    [
        (StoreError(), True, Abandon),
        (StoreError(), False, Abandon),
        (ConnectionLost(), True, Abandon),  # others get through: it is this object's own
        (ConnectionLost(), False, RetryAfter),
        (Throttled(), True, RetryAfter),  # a part of the requests is refused, as where S3 divides a busy prefix
        (Throttled(), False, RetryAfter),
        (OutOfResources(), True, RetryAfter),  # of this process: others got what it did not
        (OutOfResources(), False, RetryAfter),
        (PermissionDenied(), False, Abandon),
    ],
)
def test_the_last_attempt_ends_in_a_dead_letter_where_it_says_something_about_the_object(
    error: SkyferryError, healthy: bool, found: type
) -> None:
    made = decide_retry(error, LAST, 3, healthy=healthy, backoff=Backoff(), random=0.5)
    assert type(made) is found
    if isinstance(made, RetryAfter):
        assert not made.counts_as_attempt
