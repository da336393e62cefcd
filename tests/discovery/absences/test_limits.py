"""The number of absences that are believed."""

from __future__ import annotations

import pytest

from skyferry.config.max_deletes import MaxDeletes
from skyferry.config.settings import RouteSettings
from skyferry.discovery.absences.limits import MissingObjects, count_needed, find_hold_reason
from skyferry.ports.ledger.held_deletes import Why

DEFAULT = MaxDeletes.parse(RouteSettings.model_fields["max_deletes"].default)
NONE = MaxDeletes.parse("none")


@pytest.mark.parametrize(
    ("limit", "missing", "known", "why"),
    [
        pytest.param(DEFAULT, MissingObjects(0), 5, None, id="nothing"),
        pytest.param(DEFAULT, MissingObjects(1), 2, None, id="one of two"),
        pytest.param(DEFAULT, MissingObjects(1), 1, None, id="the only copied one, while others are there"),
        pytest.param(DEFAULT, MissingObjects(1, empty=True), 1, "empty", id="the only one"),
        pytest.param(DEFAULT, MissingObjects(2), 4, "limit", id="half of a small mirror"),
        pytest.param(DEFAULT, MissingObjects(2), 8, None, id="a quarter"),
        pytest.param(DEFAULT, MissingObjects(1000), 10_000, None, id="as many as the number"),
        pytest.param(DEFAULT, MissingObjects(1001), 10**6, "limit", id="more than the number"),
        pytest.param(DEFAULT, MissingObjects(4, empty=True), 4, "empty", id="all"),
        pytest.param(DEFAULT, MissingObjects(4, seen=True), 5, None, id="a folder is removed while it is watched"),
        pytest.param(DEFAULT, MissingObjects(5, seen=True), 5, "empty", id="everything is removed while it is watched"),
        pytest.param(DEFAULT, MissingObjects(1, seen=True), 1, None, id="the only one, removed while it is watched"),
        pytest.param(DEFAULT, MissingObjects(11, seen=True), 40, "limit", id="many are removed while they are watched"),
        pytest.param(DEFAULT, MissingObjects(1, same=False), 1000, "replaced", id="one in a folder that is another"),
        pytest.param(NONE, MissingObjects(4, empty=True), 4, None, id="no limit"),
        pytest.param(NONE, MissingObjects(1, same=False), 4, "replaced", id="no limit, but another folder"),
        pytest.param(MaxDeletes.parse("0"), MissingObjects(1, seen=True), 100, "limit", id="0"),
        pytest.param(MaxDeletes.parse("3"), MissingObjects(3), 4, None, id="only a number"),
        pytest.param(MaxDeletes.parse("3"), MissingObjects(4, empty=True), 4, "limit", id="more than only a number"),
        pytest.param(MaxDeletes.parse("50%"), MissingObjects(5000), 10_000, None, id="only a share"),
        pytest.param(MaxDeletes.parse("50%"), MissingObjects(5001), 10_000, "limit", id="more than only a share"),
    ],
)
def test_what_must_wait(limit: MaxDeletes, missing: MissingObjects, known: int, why: Why | None) -> None:
    assert find_hold_reason(limit, missing, known) == why
    assert find_hold_reason(limit, missing, min(known, count_needed(limit, missing.count))) == why, (
        "counted no further than needed"
    )


@pytest.mark.parametrize("text", ["", "x", "1,2", "5%,6%", "200%", "-1", "1.5", "none, 5"])
def test_a_limit_that_is_none_is_a_fault(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number, a share"):
        MaxDeletes.parse(text)
    with pytest.raises(ValueError, match="is not a number, a share"):
        RouteSettings.model_validate({"name": "a", "from": "b", "to": "c", "max_deletes": text})


def test_a_limit_may_be_a_number_in_the_configuration() -> None:
    settings = RouteSettings.model_validate({"name": "a", "from": "b", "to": "c", "max_deletes": 0})
    assert MaxDeletes.parse(settings.max_deletes) == MaxDeletes(0, None)
