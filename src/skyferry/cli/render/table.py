"""Tables that lose nothing: in a narrow terminal, ids move below their rows, and the widest column is folded."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

GAP = "  "
ID = "id"  # the name of a last column whose cells are copied by people, so they are never folded
NARROWEST = 16  # columns of a folded column, at least


def format_table(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """Yield the lines of a table. They are at most `width` wide, unless the terminal is too narrow for any table."""
    table = [list(columns), *map(list, rows)]
    widths = _measure_columns(table)
    below = [""] * len(table)
    if _sum_widths(widths) > width and columns[-1] == ID:
        below = ["", *(f"{GAP}{ID} {row.pop()}" for row in table[1:])]
        table[0].pop()
        widths.pop()
    if (excess := _sum_widths(widths) - width) > 0:
        widest = widths.index(max(widths))
        widths[widest] = max(NARROWEST, widths[widest] - excess)
    for number, (row, extra) in enumerate(zip(table, below, strict=True)):
        yield from _format_row(row, widths)
        if not number:
            yield "─" * min(_sum_widths(widths), width)
        if extra:
            yield extra


def _format_row(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    folded = [list(_fold_cell(cell, width)) for cell, width in zip(row, widths, strict=True)]
    for line in range(max(map(len, folded))):
        cells = [pieces[line] if line < len(pieces) else "" for pieces in folded]
        padded = (cell + " " * (width - measure_text(cell)) for cell, width in zip(cells, widths, strict=True))
        yield GAP.join(padded).rstrip()


def _fold_cell(cell: str, width: int) -> Iterator[str]:
    piece, used = "", 0
    for char in cell:
        size = measure_text(char)
        if used + size > width:
            yield piece
            piece, used = "", 0
        piece, used = piece + char, used + size
    yield piece


def measure_text(text: str) -> int:
    """Return the columns that a text takes in a terminal."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def _measure_columns(table: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(measure_text, column)) for column in zip(*table, strict=True)]


def _sum_widths(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)
