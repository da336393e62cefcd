"""Find the files to measure, and parse each once."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GENERATED = {"cli.md", "configuration.md", "observability.md", "exit-codes.md"}  # by `make docs`, from texts in src

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Place:
    """One line of one file, printed as editors and terminals link it."""

    path: Path
    line: int

    def __str__(self) -> str:
        shown = self.path.relative_to(ROOT) if self.path.is_relative_to(ROOT) else self.path
        return f"{shown}:{self.line}"


@dataclass(frozen=True)
class Source:
    """One Python file."""

    path: Path

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def module(self) -> ast.Module:
        return ast.parse(self.text, filename=str(self.path))

    @property
    def lines(self) -> int:
        return len(self.text.splitlines())

    def nodes(self) -> Iterator[ast.AST]:
        return ast.walk(self.module)

    def public(self) -> Iterator[Definition]:
        """Yield the module's public classes and functions, not those inside them."""
        for node in self.module.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name[0] != "_":
                yield node


@dataclass(frozen=True)
class Tree:
    """The files of the project at or below one path."""

    under: Path = ROOT

    @cached_property
    def src(self) -> list[Source]:
        return self._python("src")

    @cached_property
    def tests(self) -> list[Source]:
        return self._python("tests")

    @cached_property
    def pages(self) -> list[Path]:
        """Return the Markdown that people write: the generated pages repeat texts of `src`."""
        found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
        return sorted(path for path in found if self.covers(path) and path.name not in GENERATED)

    def covers(self, path: Path) -> bool:
        return path.is_relative_to(self.under)

    def _python(self, folder: str) -> list[Source]:
        found = sorted((ROOT / folder).rglob("*.py"))
        return [Source(path) for path in found if self.covers(path)]
