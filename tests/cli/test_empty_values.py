"""Empty values, as of shell variables that are not set, and options that contradict each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Cli


@pytest.mark.parametrize(
    "command",
    [
        ("dead-letters", "discard", "--yes", ""),
        ("dead-letters", "redrive", ""),
        ("deletes", "approve", ""),
        ("run", "--until-idle", "--workspace", ""),
        ("status", "--config", ""),
        ("explain", ""),
        ("ledger", "backup", ""),
        ("copy", "in", "out", "--files-from", ""),
    ],
    ids=" ".join,
)
def test_an_empty_value_is_not_everything(cli: Cli, command: tuple[str, ...]) -> None:
    Path("in").mkdir()
    result = cli(*command)
    assert (result.code, "empty" in result.err) == (2, True), result.err
    assert [path.name for path in Path().iterdir()] == ["in"]


def test_the_only_dead_letter_has_to_be_named(filled: Cli) -> None:
    """An empty id would abbreviate it."""
    first, *_ = filled("dead-letters", "list", "--json").json()["items"]
    assert filled("dead-letters", "discard", "--yes", first["id"]).code == 0
    before = filled("dead-letters", "list", "--json").json()
    assert len(before["items"]) == 1
    assert filled("dead-letters", "discard", "--yes", "").code == 2
    assert filled("dead-letters", "list", "--json").json() == before


@pytest.mark.parametrize(
    "command",
    [
        ("dead-letters", "discard", "--yes", "--all", "abc"),
        ("deletes", "reject", "--all", "abc"),
        ("transfers", "--since", "1h", "--until", "2h"),
        ("dead-letters", "redrive", "--since", "2026-01-02", "--until", "2026-01-01"),
    ],
    ids=" ".join,
)
def test_contradictory_options_are_refused(filled: Cli, command: tuple[str, ...]) -> None:
    result = filled(*command)
    assert (result.code, "contradicts" in result.err or "not before" in result.err) == (2, True), result.err
