"""When a failed attempt is tried again, and whether it counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyferry import errors
from skyferry.errors import (
    ChecksumMismatch,
    ConnectionLost,
    FolderMissing,
    IdentityRefused,
    OutOfResources,
    PermissionDenied,
    QuotaExceeded,
    SkyferryError,
    StoreError,
    Throttled,
)
from skyferry.retry import ISOLATED, Abandon, Backoff, Evidence, RetryAfter, decide_retry, is_own_failure

LAST = 4  # attempt, of three retries
SERVED, DOWN = Evidence(served=True), Evidence(served=False)
OUTAGES = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, StoreError) and kind.outage
]


@pytest.mark.parametrize(
    ("error", "evidence", "found"),
    [
        (StoreError(), SERVED, Abandon),
        (StoreError(), DOWN, Abandon),
        (ConnectionLost(), SERVED, Abandon),  # others get through: it is this object's own
        (ConnectionLost(), DOWN, RetryAfter),
        (Throttled(), SERVED, RetryAfter),  # a part of the requests is refused, as where S3 divides a busy prefix
        (Throttled(), DOWN, RetryAfter),
        (OutOfResources(), SERVED, RetryAfter),  # of this process: others got what it did not
        (OutOfResources(), DOWN, RetryAfter),
        (PermissionDenied(), DOWN, Abandon),
        (ChecksumMismatch(), DOWN, Abandon),
        (ChecksumMismatch(), Evidence(served=True, sound=True), RetryAfter),  # it was corrupted on its way
    ],
)
def test_the_last_attempt_ends_in_a_dead_letter_where_it_says_something_about_the_object(
    error: SkyferryError, evidence: Evidence, found: type
) -> None:
    made = decide_retry(error, LAST, 3, evidence, backoff=Backoff(), random=0.5)
    assert type(made) is found
    if isinstance(made, RetryAfter):
        assert not made.counts_as_attempt


@pytest.mark.parametrize(
    ("error", "lasted", "own"),
    [
        (IdentityRefused(), 0.0, True),  # its store accepts the credentials for another request
        (ConnectionLost(), ISOLATED - 1, False),
        (ConnectionLost(), ISOLATED, True),
        (Throttled(), ISOLATED, False),
        (QuotaExceeded(), ISOLATED, False),  # small objects may still fit: waiting for room is no fault of the object
        (FolderMissing(), ISOLATED, False),
        (OutOfResources(), ISOLATED, False),
    ],
)
def test_an_object_that_fails_alone_is_itself_the_problem(error: SkyferryError, lasted: float, own: bool) -> None:
    alone = Evidence(served=False, isolated=True, responds=True, lasted=lasted)
    assert is_own_failure(error, alone) is own


@given(st.sampled_from(OUTAGES), st.booleans(), st.booleans(), st.floats(0, 1e9))
def test_a_store_that_is_down_costs_no_attempt_however_long(
    kind: type[StoreError], isolated: bool, responds: bool, lasted: float
) -> None:
    """It serves nobody, and either answers nothing at all or fails many objects."""
    evidence = Evidence(served=False, isolated=isolated, responds=responds and not isolated, lasted=lasted)
    assert not is_own_failure(kind(), evidence)


@given(st.integers(1, 5), st.integers(0, 10**6), st.floats(0, 1, exclude_max=True))
def test_objects_that_wait_for_a_store_ask_ever_less_often(attempt: int, uncounted: int, random: float) -> None:
    """Not more than the cap, and exactly the cap in the end."""
    backoff = Backoff(1.0, 60.0)
    made = decide_retry(Throttled(), attempt, 3, DOWN, backoff=backoff, random=random, uncounted=uncounted)
    assert isinstance(made, RetryAfter)
    assert made.delay <= 60.0
    if attempt + uncounted > 6:
        assert made.delay == 60.0
