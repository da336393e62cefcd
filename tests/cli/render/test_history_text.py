"""What `explain` tells of a finished transfer."""

from __future__ import annotations

from dataclasses import replace

from tests.cli.conftest import AT, DONE, transfer

from skyferry.cli.render import history_text
from skyferry.model import Change, Checksums, Receipt, State
from skyferry.ports import TransferRow


def told(receipt: Receipt, change: Change = Change.CREATED) -> list[str]:
    """The lines below the one that says what came of it."""
    made = replace(transfer(DONE, "a"), change=change)
    lines = list(history_text.describe_transfer(TransferRow(made, State.DONE, "", 1, 0, AT, AT, None, receipt)))
    return [line.strip() for line in lines[3:]]


def test_a_copy_that_the_provider_made_names_what_proves_it() -> None:
    sums = Checksums(md5="ab" * 16)
    found = told(Receipt("v-1", "d-1", 2048, Checksums(), sums, sums, None, AT, AT + 0.5, 1))
    assert found[-1] == f"md5 {'ab' * 16}: source agrees, destination agrees"


def test_a_delete_has_no_versions_and_no_size() -> None:
    none = Checksums()
    assert told(Receipt("", "", 0, none, none, none, None, AT, AT + 0.5, 1), Change.DELETED) == ["in 500 ms, attempt 1"]
