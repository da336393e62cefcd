"""Ids may be abbreviated as long as they are unambiguous."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.cli.conftest import DEAD, DONE, MALFORMED

from skyferry.engine.dead_letters import redrive

if TYPE_CHECKING:
    from tests.cli.conftest import Cli


def test_a_unique_beginning_names_the_item(filled: Cli) -> None:
    """The ids of the fixture differ in the last character."""
    assert filled("transfers", DONE).code == 0
    assert filled("dead-letters", "discard", "--yes", DEAD[:-1]).code == 2
    assert filled("dead-letters", "discard", "--yes", MALFORMED).out == "1 dead letter discarded\n"
    assert DEAD in filled("dead-letters", "show", DEAD[:30]).out
    assert filled("dead-letters", "redrive", DEAD[:5]).out == "1 dead letter redriven\n"


def test_a_beginning_names_a_message_of_the_dead_letter_queue(filled: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger completes it."""
    monkeypatch.setattr(redrive, "WAIT", 0.0)
    Path("skyferry.yaml").write_text(
        "stores: {source: {url: file://source, watch: false}}\ndead_letters: {url: sqlite://dead.db}\n"
    )
    options = ("--config", "skyferry.yaml")
    filled("run", "--until-idle", "--no-live", "--listen", "127.0.0.1:0", *options)
    filled("dead-letters", "discard", MALFORMED, "--yes", *options)
    assert filled("dead-letters", "redrive", "--from-queue", DEAD[:5], *options).out.startswith(
        "1 dead letter redriven"
    )


def test_an_ambiguous_beginning_lists_the_candidates(filled: Cli) -> None:
    result = filled("transfers", "0000")
    assert result.code == 2
    assert result.err.startswith("error: 0000: 4 ids begin so (choose one of ")
    assert DONE in result.err
    assert filled("dead-letters", "show", "000").err.count(DEAD) == 1


def test_an_unknown_beginning_does_not_exist(filled: Cli) -> None:
    assert filled("transfers", "ffff").code == 1
    result = filled("dead-letters", "redrive", "ffff")
    assert (result.code, result.out) == (1, "0 dead letters redriven\n")
    assert result.err == "error: no dead letter is selected (`skyferry dead-letters list` shows what there is)\n"


def test_an_unknown_id_among_known_ones_is_named(filled: Cli) -> None:
    result = filled("dead-letters", "redrive", DEAD, "ffff")
    assert (result.code, result.out) == (1, "1 dead letter redriven\n")
    assert (
        result.err == "error: ffff: 1 dead letter does not exist (`skyferry dead-letters list` shows what there is)\n"
    )
    result = filled("dead-letters", "discard", "--yes", MALFORMED, "ffff", "eeee")
    assert (result.code, result.out) == (1, "1 dead letter discarded\n")
    assert result.err.startswith("error: ffff, eeee: 2 dead letters do not exist (")
