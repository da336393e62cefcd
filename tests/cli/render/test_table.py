"""Tables lose nothing, however narrow the terminal is."""

from __future__ import annotations

import pytest

from skyferry.cli.render.table import format_table, measure_text

COLUMNS = ("updated", "state", "key", "id")
ROW = ("2026-11-28 23:00:00", "dead: permission_denied", "a/long/key/" + "x" * 60 + ".bin", "0123456789abcdef" * 2)


def test_a_wide_terminal_has_one_line_per_row() -> None:
    heading, line, row = format_table(COLUMNS, [ROW], 240)
    assert heading.split() == list(COLUMNS)
    assert set(line) == {"─"}
    assert row == "  ".join(ROW)


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_narrow_terminal_has_whole_ids_and_reasons_and_every_character_of_the_key(width: int) -> None:
    lines = list(format_table(COLUMNS, [ROW], width))
    assert max(map(measure_text, lines)) <= max(width, 63)
    assert f"  id {ROW[-1]}" in lines
    assert ROW[1] in lines[2]
    column = lines[0].index("key")
    assert "".join(line[column:].strip() for line in lines[2:-1]) == ROW[2]


def test_wide_characters_are_measured() -> None:
    assert measure_text("日本") == 4
    assert measure_text("e\u0301") == 1
    _, _, *rows = format_table(("key", "size"), [("日本", "1"), ("abcd", "2")], 80)
    assert rows == ["日本  1", "abcd  2"]


def test_an_empty_table_has_a_heading() -> None:
    assert list(format_table(("key", "id"), [], 80)) == ["key  id", "─" * 7]
