"""Print the figures: `make figures`, or `python -m tools.figures --list --under src/skyferry/engine`."""

import argparse
import sys
from pathlib import Path

from tools.figures import layout, names, prose
from tools.figures.report import Report
from tools.figures.tree import ROOT, Tree


def main() -> int:
    """Return 1 if a limit is broken and `--check` asks for it."""
    parser = argparse.ArgumentParser(prog="make figures", description="Measure layout, names and prose of the tree.")
    parser.add_argument("--list", action="store_true", help="print each place as path:line")
    parser.add_argument("--check", action="store_true", help="exit 1 if a limit is broken")
    parser.add_argument(
        "--under", type=Path, default=ROOT, metavar="PATH", help="measure only what is at or below PATH"
    )
    options = parser.parse_args()
    if not options.under.exists():
        parser.error(f"{options.under}: path does not exist")
    report = Report(listing=options.list)
    for part in (layout, names, prose):
        part.measure(Tree(options.under.resolve()), report)
    print("\n".join(f"over the limit: {line}" for line in report.broken) or "all within the limits")
    return int(options.check and bool(report.broken))


if __name__ == "__main__":
    sys.exit(main())
