"""Draw the growth of cost with the number of objects, their size, and the transfers in the ledger, in tables and pictures.

    python -m bench.growth [--objects N …] [--sizes KIB …] [--transfers N …] [--write]

Copies are from S3 to S3 by Skyferry and rclone, one run of each, between two `rclone serve s3` on folders of this machine; CPU is
that of the whole command with its start. The ledgers in SQLite have so many transfers that are done, filled by SQL; then 50,000
new ones are claimed and settled. `--write` writes tables and pictures into docs/operations/performance.md and docs/assets.
`python -m bench.round_trips --plot FILE` draws the growth with the round trip and with the number of concurrent requests.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import ledger
from bench._tools import Spent, prepare_etags, run, serve
from bench.peers import (
    Copy,
    Place,
    describe_versions,
    fill,
    prepare_environ,
    use_rclone,
    use_skyferry,
    write_between_markers,
)
from bench.plot import Curve, draw_curves

ASSETS = Path("docs/assets")
TOTAL, MOST = 256 * 2**20, 1000  # bytes, and objects, of one copy of objects of one size
WORK = 50_000  # transfers that are claimed and settled
Figures = Mapping[
    str, tuple[str, Callable[[Spent, int, int], float]]
]  # file: title, figure of a cost, a count and a size
OBJECTS: Figures = {
    "growth-cpu": ("CPU, µs per object, by number of objects", lambda spent, count, _: 1e6 * spent.cpu / count),
    "growth-time": ("Seconds by number of objects", lambda spent, *_: spent.seconds),
    "growth-memory": ("Peak RSS in MiB by number of objects", lambda spent, *_: spent.peak / 2**20),
}
SIZES: Figures = {
    "growth-size-rate": ("MiB per second, by size", lambda spent, count, size: count * size / spent.seconds / 2**20),
    "growth-size-cpu": ("CPU, ms per object, by size", lambda spent, count, _: 1e3 * spent.cpu / count),
    "growth-size-memory": ("Peak RSS in MiB by size", lambda spent, *_: spent.peak / 2**20),
}


class Pictures:
    """Tables, and the pictures of their rows."""

    def __init__(self, write: bool) -> None:
        self._write = write

    def show(
        self, heading: str, labels: Sequence[str], drawn: Mapping[str, tuple[str, Sequence[Curve]]]
    ) -> Iterator[str]:
        """Yield the lines of a table, and links to a picture of each group of its rows."""
        yield from (f"| {heading} | | {' | '.join(labels)} |", "|---|---|" + "---|" * len(labels))
        for title, curves in drawn.values():
            yield from (f"| {title} | {c.name} | {' | '.join(map(format_figure, c.values))} |" for c in curves)
        for file, (title, curves) in drawn.items():
            if self._write:
                (ASSETS / f"{file}.svg").write_text(draw_curves(f"{title}, {heading}", labels, curves))
            yield f"\n![{title}](../assets/{file}.svg)"
        yield ""


def format_figure(value: float) -> str:
    """Format a figure with at least two digits."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def measure_copies(cases: Sequence[tuple[int, int]]) -> dict[str, list[Spent]]:
    """Return the cost of copies of so many objects of such a size, by tool."""
    found: dict[str, list[Spent]] = {"Skyferry": [], "rclone": []}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="."))).absolute()
        (folder / "b/dst").mkdir(parents=True)
        for count, size in cases:
            fill(folder / f"a/n{count}x{size}", count, size)
        places = [Place(folder / side, stack.enter_context(serve(folder / side))) for side in "ab"]
        run([sys.executable, "-m", "skyferry", "version"], {})  # compile
        for count, size in cases:
            prepare_etags(places[0].endpoint, f"n{count}x{size}/", prepare_environ(folder))
            for name, use in (("Skyferry", use_skyferry(sys.executable)), ("rclone", use_rclone)):
                prefix = f"{name.lower()}{count}x{size}"
                copy = Copy(places[0], places[1], ("s3", "s3"), f"n{count}x{size}", prefix, folder / prefix)
                spent = run(use(copy), prepare_environ(folder))
                print(f"{count} objects of {size} bytes, {name}: {spent}", file=sys.stderr, flush=True)
                found[name].append(spent)
    return found


def find_curves(figures: Figures, cases: Sequence[tuple[int, int]]) -> dict[str, tuple[str, list[Curve]]]:
    """Measure copies, and return the curves of each figure."""
    costs = measure_copies(cases)
    return {
        file: (
            title,
            [
                Curve(name, [figure(cost, *case) for cost, case in zip(each, cases, strict=True)], name == "Skyferry")
                for name, each in costs.items()
            ],
        )
        for file, (title, figure) in figures.items()
    }


def measure_ledgers(transfers: Sequence[int]) -> dict[str, tuple[str, list[Curve]]]:
    """Measure claims and settlements in ledgers with so many transfers, and return the curves."""
    rates: dict[str, list[float]] = {"claims": [], "settlements": []}
    costs: list[float] = []
    with tempfile.TemporaryDirectory(dir=".") as folder:
        for count in transfers:
            path = Path(folder) / f"{count}.db"
            if count:
                ledger.fill(path, count, "random")
            claims, settles, used = asyncio.run(ledger.measure(path, WORK, "random"))
            rates["claims"].append(WORK / claims)
            rates["settlements"].append(WORK / settles)
            costs.append(1e6 * used / WORK)
            print(f"{count} transfers: {WORK / claims:.0f} claims/s, {costs[-1]:.1f} us", file=sys.stderr, flush=True)
    return {
        "growth-ledger-rate": (
            "Claims and settlements per second",
            [Curve(name, values, name == "claims") for name, values in rates.items()],
        ),
        "growth-ledger-cpu": ("CPU, µs for a claim and its settlement", [Curve("Skyferry", costs, main=True)]),
    }


def main(given: argparse.Namespace) -> None:
    """Print what was measured, and write it."""
    heading, pictures = describe_versions(), Pictures(given.write)
    sizes = [kib * 1024 for kib in given.sizes]
    by_size = [(max(1, min(MOST, TOTAL // size)), size) for size in sizes]
    command = f"--objects {join(given.objects)} --sizes {join(given.sizes)} --transfers {join(given.transfers)}"
    text = "\n".join(
        [
            f"`python -m bench.growth {command}`: one run of each. {heading}.\n",
            *pictures.show(
                "4 KiB, S3 → S3",
                [f"{count:,}" for count in given.objects],
                find_curves(OBJECTS, [(count, 4096) for count in given.objects]),
            ),
            f"Up to {MOST:,} objects of one size, {TOTAL // 2**20} MiB at most:\n",
            *pictures.show(
                "S3 → S3",
                [f"{kib:,} KiB" if kib < 1024 else f"{kib // 1024:,} MiB" for kib in given.sizes],
                find_curves(SIZES, by_size),
            ),
            f"{WORK:,} new transfers in a ledger in SQLite, with random keys, by the number of transfers that it had:\n",
            *pictures.show("ledger", [f"{count:,}" for count in given.transfers], measure_ledgers(given.transfers)),
            "[Round trips](#round-trips) has the growth with the round trip and with the number of concurrent copies.",
        ]
    )
    print(text)
    if given.write:
        write_between_markers("growth", text)


def join(numbers: Sequence[int]) -> str:
    """Return the numbers as arguments of a command."""
    return " ".join(map(str, numbers))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, nargs="+", default=[1000, 3000, 10_000])
    parser.add_argument("--sizes", type=int, nargs="+", default=[4, 64, 1024, 16_384, 65_536], metavar="KIB")
    parser.add_argument("--transfers", type=int, nargs="+", default=[0, 100_000, 1_000_000])
    parser.add_argument("--write", action="store_true")
    main(parser.parse_args())
