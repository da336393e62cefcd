"""Measure folders, files and functions."""

import ast
from collections import defaultdict
from pathlib import Path
from statistics import median

from tools.figures.report import Report
from tools.figures.tree import ROOT, Place, Source, Tree

FLAT = 12  # modules in one folder of src, `__init__.py` not counted
LINES = 400  # of a file, anywhere

Lengths = list[tuple[Place, int]]


def measure(tree: Tree, report: Report) -> None:
    """Report the folders of `src`, then the length of files and functions."""
    _folders(tree, report)
    measured: dict[str, Lengths] = {}
    for kind, sources in (("src", tree.src), ("tests", tree.tests)):
        measured[f"files, {kind}"] = [(Place(source.path, 1), source.lines) for source in sources]
        measured[f"functions, {kind}"] = _functions(sources)
    rows = [_row(name, lengths) for name, lengths in measured.items() if lengths]
    report.table("Length in lines", ("", "count", "median", "longest", "where"), rows)
    long = [f"{Place(source.path, source.lines)}" for source in tree.src + tree.tests if source.lines > LINES]
    report.finding(f"files over {LINES} lines", long, limit=0)


def _folders(tree: Tree, report: Report) -> None:
    modules: dict[Path, list[Source]] = defaultdict(list)
    for source in tree.src:
        if source.path.name != "__init__.py":
            modules[source.path.parent].append(source)
    rows = [
        (
            str(folder.relative_to(ROOT)),
            len(inside),
            sum(source.lines for source in inside),
            "<- over" * (len(inside) > FLAT),
        )
        for folder, inside in sorted(modules.items())
    ]
    report.table("Modules by folder", ("folder", "modules", "lines", ""), rows)
    full = [f"{folder.relative_to(ROOT)}/: {len(inside)}" for folder, inside in modules.items() if len(inside) > FLAT]
    report.finding(f"folders over {FLAT} modules", full, limit=0)


def _functions(sources: list[Source]) -> Lengths:
    return [
        (Place(source.path, node.lineno), (node.end_lineno or node.lineno) - node.lineno + 1)
        for source in sources
        for node in source.nodes()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def _row(name: str, lengths: Lengths) -> tuple[object, ...]:
    place, longest = max(lengths, key=lambda pair: pair[1])
    return name, len(lengths), round(median(length for _, length in lengths)), longest, place
