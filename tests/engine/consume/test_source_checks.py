"""Which events a look at the source has answered."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.engine.copy.test_decisions import SOURCE, placement, transfer

from skyferry.engine.consume.source_checks import SourceChecks
from skyferry.model import Change, Checksums, Receipt, Transfer
from skyferry.ports import Done, Outcome, Released, Skipped

NONE = Checksums()
DONE = Done(Receipt("v", "d", 1, NONE, NONE, NONE, None, 0.0, 0.0, 1), placement())
CREATE, DELETE = transfer(), transfer(Change.DELETED)
ASKED = replace(CREATE, asked=True)


@pytest.mark.parametrize(
    ("by", "outcome", "other", "came", "expected"),
    [
        pytest.param(CREATE, DONE, CREATE, 5, Skipped("superseded"), id="it came before the look"),
        pytest.param(CREATE, DONE, CREATE, 6, None, id="it came while the look was under way"),
        pytest.param(CREATE, DONE, DELETE, 5, Skipped("superseded"), id="the object was there after the delete"),
        pytest.param(CREATE, Skipped("current"), CREATE, 5, Skipped("current"), id="nothing to do for any of them"),
        pytest.param(CREATE, Skipped("gone"), CREATE, 5, Skipped("gone"), id="gone for other creates, too"),
        pytest.param(CREATE, Skipped("gone"), DELETE, 5, None, id="a create whose object is gone deletes nothing"),
        pytest.param(DELETE, Skipped("gone"), DELETE, 5, Skipped("gone"), id="a delete answers deletes"),
        pytest.param(CREATE, Released(0.0), CREATE, 5, None, id="nothing came of it"),
        pytest.param(CREATE, Skipped("current"), ASKED, 5, None, id="a person wants the destination looked at"),
        pytest.param(CREATE, DONE, ASKED, 5, Skipped("superseded"), id="it was just written"),
        pytest.param(ASKED, Skipped("current"), ASKED, 5, Skipped("current"), id="it was just looked at"),
        pytest.param(CREATE, DONE, replace(CREATE, route="other"), 5, None, id="another route has other filters"),
        pytest.param(CREATE, DONE, replace(CREATE, source=replace(SOURCE, key="b")), 5, None, id="another object"),
        pytest.param(CREATE, DONE, replace(CREATE, source=replace(SOURCE, account="b")), 5, None, id="another account"),
    ],
)
def test_a_look_answers_the_events_that_came_before_it(
    by: Transfer, outcome: Outcome, other: Transfer, came: int, expected: Skipped | None
) -> None:
    """Without any position: what happened before the event came was there to be seen."""
    checks = SourceChecks()
    checks.record(by, 5, outcome)
    assert checks.find_outcome(other, came) == expected


def test_an_outcome_without_a_check_answers_no_event() -> None:
    checks = SourceChecks()
    checks.record(CREATE, 0, Skipped("superseded"))
    assert checks.find_outcome(CREATE, 0) is None
