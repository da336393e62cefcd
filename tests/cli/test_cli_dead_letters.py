"""`dead-letters`: what was given up on, and what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

DEAD, MALFORMED = f"{4:032x}", f"{5:032x}"


def listed(cli: Cli) -> list[str]:
    return [item["id"] for item in cli("dead-letters", "list", "--json").json()["items"]]


def test_list_groups_them_by_cause(filled: Cli) -> None:
    document = filled("dead-letters", "list", "--json").json()
    assert {(c["route"], c["reason"], c["count"]) for c in document["causes"]} == {
        ("default", "permission_denied", 1),
        ("", "unknown_format", 1),
    }
    assert [item["id"] for item in document["items"]] == [DEAD, MALFORMED]


def test_list_in_words_names_causes_and_ids(filled: Cli) -> None:
    out = filled("dead-letters", "list").out
    assert all(text in out for text in ("permission_denied", "unknown_format", DEAD, MALFORMED))


def test_show_tells_attempts_hint_and_message(filled: Cli) -> None:
    out = filled("dead-letters", "show", DEAD).out
    assert "attempt 1 failed: permission_denied: permission_denied was the answer" in out
    assert "hint: give it the right to" in out
    assert '{"not": "empty"}' in out


def test_a_message_that_is_no_text_is_shown_all_the_same(filled: Cli) -> None:
    assert "\\xff\\x00" in filled("dead-letters", "show", MALFORMED).out
    assert filled("dead-letters", "show", MALFORMED, "--json").json()["body_base64"] == "/wA="


def test_show_of_an_unknown_one_is_not_found(filled: Cli) -> None:
    assert filled("dead-letters", "show", "nothing").code == 1


def test_redrive_marks_them_for_the_service(filled: Cli) -> None:
    assert filled("dead-letters", "redrive", DEAD, "--json").json() == {"count": 1}
    assert filled("dead-letters", "show", DEAD, "--json").json()["redriven_at"] is not None
    assert filled("dead-letters", "show", MALFORMED, "--json").json()["redriven_at"] is None


def test_discard_by_cause_leaves_the_others(filled: Cli) -> None:
    assert filled("dead-letters", "discard", "--reason", "unknown_format", "--yes").out == "1 dead letter discarded\n"
    assert listed(filled) == [DEAD]


@pytest.mark.parametrize("command", ["redrive", "discard"])
def test_saying_nothing_does_not_mean_all(filled: Cli, command: str) -> None:
    result = filled("dead-letters", command)
    assert result.code == 2
    assert "--all" in result.err
    assert listed(filled) == [DEAD, MALFORMED]


def test_discard_asks_first_and_refuses_where_nobody_can_answer(filled: Cli) -> None:
    assert filled("dead-letters", "discard", "--all").code == 2
    assert listed(filled) == [DEAD, MALFORMED]
    assert filled("dead-letters", "discard", "--all", "--yes").code == 0
    assert listed(filled) == []


def test_nothing_that_matches_is_a_failure(filled: Cli) -> None:
    assert filled("dead-letters", "redrive", "--reason", "no_such_reason").code == 1


def test_an_empty_list_says_so(filled: Cli) -> None:
    filled("dead-letters", "discard", "--all", "--yes")
    assert filled("dead-letters", "list").out == "there are no dead letters\n"
