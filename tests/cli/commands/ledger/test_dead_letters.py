"""`dead-letters`: what was given up on, and what becomes of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from skyferry.engine.dead_letters import redrive

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


def test_show_prints_attempts_hint_and_message(filled: Cli) -> None:
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


def test_discard_asks_first_and_refuses_without_a_terminal(filled: Cli) -> None:
    assert filled("dead-letters", "discard", "--all").code == 2
    assert listed(filled) == [DEAD, MALFORMED]
    assert filled("dead-letters", "discard", "--all", "--yes").code == 0
    assert listed(filled) == []


def test_nothing_that_matches_is_a_failure(filled: Cli) -> None:
    assert filled("dead-letters", "redrive", "--reason", "no_such_reason").code == 1


def test_an_empty_list_says_so(filled: Cli) -> None:
    filled("dead-letters", "discard", "--all", "--yes")
    assert filled("dead-letters", "list").out == "no dead letters\n"


def sent_on(cli: Cli) -> None:
    """A service has sent on what is in the ledger."""
    Path("skyferry.yaml").write_text(
        "stores: {source: {url: file://source, watch: false}}\ndead_letters: {url: sqlite://dead.db}\n"
    )
    run = ("run", "--until-idle", "--no-live", "--listen", "127.0.0.1:0", "--config", "skyferry.yaml")
    assert cli(*run).code == 3


def test_letters_of_before_are_sent_on_and_come_back_from_the_queue(
    filled: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that match, and each once; the others stay there."""
    monkeypatch.setattr(redrive, "WAIT", 0.0)  # a file has no messages under way
    sent_on(filled)
    command = ("dead-letters", "redrive", "--from-queue", "--config", "skyferry.yaml")
    assert filled(*command, "--reason", "unknown_format", "--json").json() == {
        "count": 1,
        "redriven": 1,
        "sent": 0,
        "stale": 0,
        "left": 1,
    }
    assert filled("dead-letters", "show", MALFORMED, "--json").json()["redriven_at"] is not None
    assert filled(*command, "--since", "2000-01-01", "--until", "2001-01-01").code == 1
    assert filled(*command, MALFORMED).code == 1
    assert filled(*command, DEAD, "--limit", "1").out == "1 dead letter redriven, 0 stale, 0 left in the queue\n"
    assert filled(*command).out == "0 dead letters redriven, 0 stale, 0 left in the queue\n"


def test_ids_that_are_not_in_the_queue_are_named(filled: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are redriven."""
    monkeypatch.setattr(redrive, "WAIT", 0.0)
    sent_on(filled)
    command = ("dead-letters", "redrive", "--from-queue", "--config", "skyferry.yaml")
    lost = "f" * 32
    found = filled(*command, DEAD, lost)
    assert found.code == 1
    assert found.out == "1 dead letter redriven, 0 stale, 1 left in the queue\n"
    assert f"{lost}: 1 dead letter is not in what was read of the queue" in found.err
    found = filled(*command, DEAD, lost)
    assert f"{DEAD}, {lost}: 2 dead letters are not" in found.err


def test_a_letter_delivered_twice_is_redriven_once(filled: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator was faster."""
    monkeypatch.setattr(redrive, "WAIT", 0.0)
    sent_on(filled)
    filled("dead-letters", "redrive", "--all")
    document = filled("dead-letters", "redrive", "--from-queue", "--json", "--config", "skyferry.yaml").json()
    assert (document["count"], document["stale"]) == (0, 2)


def test_redriving_from_a_queue_needs_one_that_can_be_read(filled: Cli) -> None:
    """And choosing by destination key is not possible there."""
    command = ("dead-letters", "redrive", "--from-queue")
    assert "set `dead_letters`" in filled(*command).err
    Path("skyferry.yaml").write_text('dead_letters: {url: "pubsub://p?topic=dead"}')
    assert "no subscription" in filled(*command, "--config", "skyferry.yaml").err
    assert filled(*command, "--prefix", "a/").code == 2


def test_doctor_looks_at_the_queue_of_dead_letters(cli: Cli) -> None:
    Path("skyferry.yaml").write_text("dead_letters: {url: sqlite://dead.db}\n")
    Path("skyferry-data/source").mkdir(parents=True)
    checks = cli("doctor", "--config", "skyferry.yaml", "--json").json()["checks"]
    assert [check["state"] for check in checks if check["where"] == "dead-letters"] == ["unknown"]  # not made yet
    Path("skyferry-data/dead.db").touch()
    checks = cli("doctor", "--config", "skyferry.yaml", "--json").json()["checks"]
    assert [check["state"] for check in checks if check["where"] == "dead-letters"] == ["ok"]
