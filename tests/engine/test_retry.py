"""When a failed attempt is tried again, and whether it counts."""

from __future__ import annotations

import pytest

from skyferry.errors import ConnectionLost, OutOfResources, PermissionDenied, SkyferryError, StoreError, Throttled
from skyferry.retry import Again, Backoff, GiveUp, decide

LAST = 4  # attempt, of three retries


@pytest.mark.parametrize(
    ("error", "healthy", "found"),
    [
        (StoreError(), True, GiveUp),
        (StoreError(), False, GiveUp),
        (ConnectionLost(), True, GiveUp),  # others get through: it is this object's own
        (ConnectionLost(), False, Again),
        (Throttled(), True, Again),  # a part of the requests is refused, as where S3 divides a busy prefix
        (Throttled(), False, Again),
        (OutOfResources(), True, Again),  # of this process: others got what it did not
        (OutOfResources(), False, Again),
        (PermissionDenied(), False, GiveUp),
    ],
)
def test_the_last_attempt_ends_in_a_dead_letter_where_it_says_something_about_the_object(
    error: SkyferryError, healthy: bool, found: type
) -> None:
    made = decide(error, LAST, 3, healthy=healthy, backoff=Backoff(), random=0.5)
    assert type(made) is found
    if isinstance(made, Again):
        assert not made.counts_as_attempt
