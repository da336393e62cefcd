"""The steps of a schema: their order, and which of them a schema lacks."""

from __future__ import annotations

import pytest

from skyferry.errors import LedgerIncompatible
from skyferry.sql.schema_steps import SchemaHistory, SchemaVersion, order_steps

FILES = [(f"{name}.sql", name) for name in ("0003-expand-c", "0002-contract-x", "0001-expand-a", "0002-expand-b-two")]
HISTORY = SchemaHistory("ledger", "a", LedgerIncompatible, order_steps(FILES))


@pytest.mark.parametrize(
    ("at", "pending"),
    [
        (SchemaVersion(), ["0001 expand: a", "0002 expand: b two", "0003 expand: c", "0002 contract: x"]),
        (SchemaVersion(1, 1), ["0002 expand: b two", "0003 expand: c", "0002 contract: x"]),
        (SchemaVersion(3, 1), ["0002 contract: x"]),
        (SchemaVersion(2, 2), ["0003 expand: c"]),
        (SchemaVersion(3, 2), []),
        (SchemaVersion(7, 3), []),
    ],
    ids=str,
)
def test_expansions_come_first_whether_contractions_are_applied_or_not(at: SchemaVersion, pending: list[str]) -> None:
    assert [str(step) for step in HISTORY.list_pending(at)] == pending
    expansions = [name for name in pending if "expand" in name]
    assert str(HISTORY.find_next(at)) == (expansions[0] if expansions else "None")
    assert str(HISTORY.find_next(at, contract=True)) == (pending[0] if pending else "None")


def test_the_numbers_follow_the_steps() -> None:
    """A new schema is compatible from the first version, until it is contracted."""
    at, seen = SchemaVersion(), []
    while step := HISTORY.find_next(at, contract=True):
        at = step.advance(at)
        seen.append((at.number, at.compatible_from))
    assert seen == [(1, 1), (2, 1), (3, 1), (3, 2)]


def test_a_newer_schema_is_used_as_long_as_it_is_compatible() -> None:
    HISTORY.check_compatible(SchemaVersion(9, 3), "here")
    with pytest.raises(
        LedgerIncompatible, match=r"^here: .*from version 4, and this Skyferry knows 3 \(Update Skyferry"
    ):
        HISTORY.check_compatible(SchemaVersion(9, 4), "here")


@pytest.mark.parametrize(
    "names",
    [
        ["1-expand-a"],
        ["0001-expand"],
        ["0001-change-a"],
        ["0002-expand-a"],
        ["0001-expand-a", "0003-expand-b"],
        ["0001-expand-a", "0001-expand-b"],
        ["0001-expand-a", "0001-contract-b"],
        ["0001-expand-a", "0002-contract-b"],
        ["0001-expand-a", "0002-expand-b", "0002-contract-c", "0002-contract-d"],
    ],
    ids=str,
)
def test_files_that_are_no_order_are_refused(names: list[str]) -> None:
    with pytest.raises(ValueError, match=r"step|number|contraction"):
        order_steps([(f"{name}.sql", "") for name in names])
