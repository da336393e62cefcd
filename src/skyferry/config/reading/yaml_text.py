"""Build plain data from YAML, with the line of each value."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import yaml
from yaml.composer import Composer

from skyferry.config.reading.document import NUMBERED
from skyferry.config.reading.faults import InvalidYaml, Place
from skyferry.regex import compile_lazily

_SQUEEZED = compile_lazily(r"[a-z_]+:\S")
_Loader: TypeAlias = "yaml.SafeLoader | yaml.CSafeLoader"
VALUES = 100_000  # of one file; each alias to an alias may double them


def parse_yaml(
    text: bytes,
    lines: dict[Place, int],
    place: Place,
    twice: Callable[[Place, int], None],
    empty: Callable[[Place], None],
) -> object:
    """Return the data, and add the line of each value to `lines`. Raises InvalidYaml.

    `twice` gets the place of each key that is given twice, and the line where it is first; `empty` that of each key without a
    value, which the data do not have.
    """
    try:
        loader, node = _compose(text)
        return None if node is None else _Builder(loader, lines, twice, empty).build(node, place)
    except (yaml.YAMLError, RecursionError) as error:
        raise _explain_error(error, text) from error


if yaml.__with_libyaml__:

    class _FastLoader(Composer, yaml.CSafeLoader):
        """Builds nodes in Python: that of libyaml's binding overflows the stack of the process at deep nesting."""

        def __init__(self, text: bytes) -> None:
            Composer.__init__(self)
            yaml.CSafeLoader.__init__(self, text)


def _compose(text: bytes) -> tuple[_Loader, yaml.Node | None]:
    """Return the nodes of a text, from libyaml if it is there: nine times as fast. What it rejects is parsed for the message."""
    if yaml.__with_libyaml__:
        fast = _FastLoader(text)
        try:
            return fast, fast.get_single_node()
        except yaml.YAMLError:
            pass
        finally:
            fast.dispose()
    loader = yaml.SafeLoader(text)
    try:
        return loader, loader.get_single_node()
    finally:
        loader.dispose()


class _Builder:
    """Builds data from YAML nodes. Empty values are left out; keys are text."""

    def __init__(
        self,
        loader: _Loader,
        lines: dict[Place, int],
        twice: Callable[[Place, int], None],
        empty: Callable[[Place], None],
    ) -> None:
        self._loader, self._lines, self._twice, self._empty = loader, lines, twice, empty
        self._open: set[int] = set()
        self._left = VALUES

    def build(self, node: yaml.Node, place: Place) -> object:
        self._lines.setdefault(place, node.start_mark.line + 1)
        if self._left <= 0:
            problem = f"there are more than {VALUES:,} values, with aliases expanded"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        self._left -= 1
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if id(node) in self._open:
            raise yaml.MarkedYAMLError(problem="an alias refers to itself", problem_mark=node.start_mark)
        self._open.add(id(node))
        try:
            return self._mapping(node, place) if isinstance(node, yaml.MappingNode) else self._list(node, place)
        finally:
            self._open.discard(id(node))

    def _scalar(self, node: yaml.ScalarNode) -> object:
        if any("\ud800" <= character <= "\udfff" for character in node.value):
            problem = f"{node.value[:20]!a} has half of a character, which no text has"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        try:
            return self._loader.construct_object(node)
        except ValueError as error:  # it looks like a date or a number, such as 2026-02-31
            problem = f"{node.value[:20]!r} needs quotes: {error}"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from error

    def _list(self, node: yaml.Node, place: Place) -> object:
        items = [self.build(item, (*place, i)) for i, item in enumerate(node.value)]
        return dict(enumerate(items)) if len(place) == 1 and place[0] in NUMBERED else items

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, object]:
        twice = self._duplicates(node, place)
        self._loader.flatten_mapping(node)  # <<: *anchor
        built: dict[str, object] = {}
        for key, value in node.value:
            below = (*place, str(key.value))
            if _SQUEEZED.match(str(key.value)) and place != ("stores",) and value.tag.endswith(":null"):
                problem = f"{key.value!r} has no space after the colon"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            self._lines[below] = key.start_mark.line + 1
            made, before = self.build(value, below), built.get(str(key.value))
            if str(key.value) in twice and isinstance(before, dict) and isinstance(made, dict):
                made = before | made  # so that nothing in the first of two sections is reported as missing
            built[str(key.value)] = made
            if built[str(key.value)] is None:
                self._empty(below)
        bare: dict[str, object] = {k: {} for k, v in built.items() if v is None and place == ("stores",)}
        return {k: v for k, v in built.items() if v is not None} | bare

    def _duplicates(self, node: yaml.MappingNode, place: Place) -> set[str]:
        """Report the keys that are given twice, and return them."""
        first: dict[str, int] = {}
        twice = set[str]()
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if (name := str(key.value)) in first:
                self._lines[(*place, name)] = line
                self._twice((*place, name), first[name])
                twice.add(name)
            first.setdefault(name, line)
        return twice


def _explain_error(error: Exception, text: bytes) -> InvalidYaml:
    if isinstance(error, yaml.reader.ReaderError):
        if error.encoding == "unicode":
            said = f"is not YAML: it has the character U+{error.character:04X}, which no text has"
            return InvalidYaml(said, "Remove it, or save the file as UTF-8 if that is not its encoding.", None)
        line = text.count(b"\n", 0, error.position) + 1 if error.encoding == "utf-8" else None
        said = f"is not a text in {error.encoding.upper()}: {error.reason}"
        return InvalidYaml(said, "Save it as UTF-8, or name another file.", line)
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "nested too deeply"
    hint = "Quote values that begin with {, [, * or &, and indent with spaces." if mark else ""
    return InvalidYaml(f"is not YAML: {problem}", hint, mark.line + 1 if mark else None)
