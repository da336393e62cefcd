"""Collect tables and findings, print them as plain text, and say which limits are broken."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Report:
    """Print as it is filled; remember what is over its limit."""

    listing: bool  # print every finding, not only its count
    broken: list[str] = field(default_factory=list)

    def table(self, title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print one table, numbers to the right. An empty table is left out."""
        if not rows:
            return
        cells = [list(head), *([str(cell) for cell in row] for row in rows)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
        print(f"{title}\n")
        for row in cells:
            print("  " + "  ".join(_aligned(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip())
        print()

    def finding(self, title: str, places: Sequence[str], limit: int | None = None, always: bool = False) -> None:
        """List places under `--list` (or always), and break the limit if there are more than it allows."""
        if limit is not None and len(places) > limit:
            self.broken.append(f"{title}: {len(places)}, at most {limit}")
        if places and (self.listing or always):
            print(f"{title[0].upper()}{title[1:]}\n")
            print("\n".join(f"  {place}" for place in places) + "\n")


def _aligned(cell: str, width: int) -> str:
    return cell.rjust(width) if cell[:1].isdigit() else cell.ljust(width)
