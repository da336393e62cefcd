"""Count names that stand for several things, and functions whose name is not a verb with its object."""

import ast
from collections import defaultdict
from types import UnionType

from tools.figures.report import Report
from tools.figures.tree import Place, Tree

PARTICIPLES = {
    "told",
    "held",
    "seen",
    "sought",
    "known",
    "lost",
    "taken",
    "given",
    "kept",
    "found",
    "made",
    "left",
    "heard",
}
NOT_PARTICIPLES = {"speed", "feed", "need", "seed", "embed", "red", "bed", "shed", "proceed", "exceed", "succeed"}
SHOWN = 20

Names = dict[str, list[Place]]


def measure(tree: Tree, report: Report) -> None:
    """Report public classes and functions of `src`, methods not counted.

    A name is compared with those of the whole of `src`, also if only a part of it is measured.
    """
    if not tree.src:
        return
    classes, functions = _collect(tree, ast.ClassDef), _collect(tree, ast.FunctionDef | ast.AsyncFunctionDef)
    shared_classes, shared_functions = _shared(classes), _shared(functions)
    inside = [(name, place) for name, places in functions.items() for place in places if tree.covers(place.path)]
    single = [f"{place}  {name}" for name, place in inside if "_" not in name]
    participles = [f"{place}  {name}" for name, place in inside if is_participle(name)]
    report.table(
        "Public names",
        ("", "count"),
        [
            ("classes", sum(tree.covers(place.path) for places in classes.values() for place in places)),
            ("class names defined more than once", len(shared_classes)),
            ("functions", len(inside)),
            ("function names defined more than once", len(shared_functions)),
            ("one-word functions", len(single)),
            ("functions that begin with a participle", len(participles)),
        ],
    )
    report.finding("class names defined more than once", _lines(shared_classes), limit=0, always=True)
    report.finding(f"function names defined more than once, the first {SHOWN}", _lines(shared_functions[:SHOWN]))
    report.finding("functions that begin with a participle", participles)
    report.finding("one-word functions", single)


def is_participle(name: str) -> bool:
    """Return True if the first word of a function's name looks like a past participle instead of a verb."""
    first = name.split("_")[0]
    return first in PARTICIPLES or (first.endswith("ed") and first not in NOT_PARTICIPLES)


def _collect(tree: Tree, kind: type[ast.AST] | UnionType) -> Names:
    """Return the public names of one kind that are defined in the tree, with all places of `src` that define them."""
    found: Names = defaultdict(list)
    for source in Tree().src:
        for node in source.public():
            if isinstance(node, kind):
                found[node.name].append(Place(source.path, node.lineno))
    return {name: places for name, places in found.items() if any(tree.covers(place.path) for place in places)}


def _shared(names: Names) -> list[tuple[str, list[Place]]]:
    """Return the names defined more than once, the most frequent first."""
    return sorted(((name, at) for name, at in names.items() if len(at) > 1), key=lambda pair: (-len(pair[1]), pair[0]))


def _lines(shared: list[tuple[str, list[Place]]]) -> list[str]:
    return [f"{name} ({len(places)}): {' '.join(map(str, places))}" for name, places in shared]
