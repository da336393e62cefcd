"""Each promise of docs/security.md names a test that exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", (ROOT / "docs" / "security.md").read_text("utf-8"))))


@pytest.mark.parametrize(("file", "test"), NAMED, ids=lambda part: part)
def test_the_test_is_there(file: str, test: str) -> None:
    tree = ast.parse((ROOT / "tests" / file).read_text("utf-8"))
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert test in functions


def test_every_actor_has_promises() -> None:
    sections = (ROOT / "docs" / "security.md").read_text("utf-8").split("\n## ")[3:-2]
    assert len(sections) == 9
    assert all(re.search(r"`[\w/]+\.py", section) for section in sections)
