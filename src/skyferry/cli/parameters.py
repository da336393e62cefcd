"""Commands as functions: annotations declare the parameters, and the docstring is the help. Click parses the command line.

    def ls(url: Annotated[str, Argument(metavar="URL")], json: Annotated[bool, Option("--json", help="Print JSON.")] = False)

A framework that validates parameters with pydantic would triple the time of `skyferry --help`.
"""

from __future__ import annotations

import inspect
import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, TypeAlias, Union, get_args, get_origin, get_type_hints

import click

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
CommandFunction: TypeAlias = Callable[..., None]


class Declaration(ABC):
    """The declaration of one parameter. `settings` are those of Click's class; `min` and `max` bound a number."""

    def __init__(self, *names: str, min: float | None = None, max: float | None = None, **settings: Any) -> None:
        self.names, self.min, self.max, self.settings = names, min, max, settings

    def build(self, name: str, annotation: Any, default: Any) -> click.Parameter:
        """Build the parameter `name` of a function."""
        many, inner = _unwrap_annotation(annotation)
        settings: dict[str, Any] = {"type": self._find_type(inner)} | self.settings
        if many:
            settings["callback"] = lambda context, parameter, values: list(values) or None
        return self._make(
            name, inner, many, settings | ({} if default is inspect.Parameter.empty else {"default": default})
        )

    @abstractmethod
    def _make(self, name: str, inner: Any, many: bool, settings: dict[str, Any]) -> click.Parameter:
        """Build the parameter with Click's class for its kind."""

    def _find_type(self, inner: Any) -> Any:
        if inner is Path:
            return NamedPath(path_type=Path)
        if issubclass(inner, StrEnum):
            return EnumChoice(inner)
        if (self.min, self.max) != (None, None):
            return (click.IntRange if inner is int else click.FloatRange)(self.min, self.max)  # type: ignore[arg-type]  # Click's stubs differ by class
        return inner


class Option(Declaration):
    """An option, such as `Option("--limit", metavar="N", min=1)`."""

    def _make(self, name: str, inner: Any, many: bool, settings: dict[str, Any]) -> click.Parameter:
        shown = settings.get("default") not in (None, "", False)
        if inner is bool:
            settings = {key: value for key, value in settings.items() if key != "metavar"} | {"is_flag": True}
        names = self.names or (f"--{name.replace('_', '-')}",)
        return click.Option([name, *names], **({"show_default": shown, "multiple": many} | settings))


class Argument(Declaration):
    """A positional argument."""

    def _make(self, name: str, inner: Any, many: bool, settings: dict[str, Any]) -> click.Parameter:
        settings |= (
            {"nargs": -1, "required": False, "callback": _collect_arguments}
            if many
            else {"required": "default" not in settings}
        )
        if many:
            settings.pop("default", None)
        shown = "" if settings.pop("hidden", False) else settings.get("metavar", name.upper())
        settings["metavar"] = shown if settings["required"] or shown[:1] in ("", "[") else f"[{shown}]"
        return click.Argument([name], **settings)


class NamedPath(click.Path):
    """A path. An empty one, as of a variable that is not set, would be the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        if value == "":
            self.fail("the path is empty: name one, such as . for this folder, or leave the option out", param, ctx)
        return super().convert(value, param, ctx)


class EnumChoice(click.Choice[Any]):
    """A choice of the values of an enumeration."""

    def __init__(self, kind: type[StrEnum]) -> None:
        super().__init__([member.value for member in kind])
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the member."""
        return self._kind(super().convert(str(value), param, ctx))


def _collect_arguments(context: click.Context, parameter: click.Parameter, values: Sequence[Any]) -> list[Any] | None:
    """Return the values, None if there are none. An empty one, as of a variable that is not set, would abbreviate every id."""
    if "" in values:
        raise click.BadParameter("it is empty", context, parameter)
    return list(values) or None


def build_command(function: CommandFunction, name: str) -> click.Command:
    """Build the command of a function. A parameter that is a dataclass becomes one parameter for each of its fields."""
    hints = _hints(function)
    parts: dict[str, Any] = {part: hint for part, hint in hints.items() if is_dataclass(hint)}
    parameters: list[click.Parameter] = []
    for each in inspect.signature(function).parameters.values():
        if each.name in parts:
            parameters += _build_parameters(parts[each.name])
        else:
            parameters.append(_build_parameter(each.name, each.default, hints))

    def call(**values: Any) -> None:
        made = {part: kind(**{f.name: values.pop(f.name) for f in fields(kind)}) for part, kind in parts.items()}
        function(**values, **made)

    text = inspect.cleandoc(function.__doc__ or "")
    return click.Command(name, callback=call, params=parameters, help=text, context_settings=CONTEXT)


def format_command(command: str) -> str:
    """Return `skyferry COMMAND` with the --config and --workspace of the running command, to be pasted."""
    context = click.get_current_context(silent=True)
    given = context.params if context else {}
    words = [word for name in ("config", "workspace") if given.get(name) for word in (f"--{name}", str(given[name]))]
    return " ".join(["skyferry", command, *map(shlex.quote, words)])


def _build_parameters(record: type[Any]) -> list[click.Parameter]:
    hints = _hints(record)
    return [
        _build_parameter(each.name, inspect.Parameter.empty if each.default is MISSING else each.default, hints)
        for each in fields(record)
    ]


def _build_parameter(name: str, default: Any, hints: dict[str, Any]) -> click.Parameter:
    annotation, *declared = get_args(hints[name])
    [declaration] = [each for each in declared if isinstance(each, Declaration)]
    return declaration.build(name, annotation, default)


def _hints(annotated: Any) -> dict[str, Any]:
    return {name: hint for name, hint in get_type_hints(annotated, include_extras=True).items() if name != "return"}


class CommandGroup(click.Group):
    """A group that lists its commands in their order."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names."""
        return list(self.commands)


def build_group(summary: str, functions: Sequence[CommandFunction]) -> CommandGroup:
    """Build a group of commands, which have the names of the functions."""
    commands = [build_command(function, function.__name__.strip("_").replace("_", "-")) for function in functions]
    return CommandGroup(commands=commands, help=summary, no_args_is_help=True, context_settings=CONTEXT)


def _unwrap_annotation(annotation: Any) -> tuple[bool, Any]:
    """Return whether it is a list, and the type without `list`, `Annotated` and `| None`."""
    many = False
    while origin := get_origin(annotation):
        many |= origin is list
        arguments = [a for a in get_args(annotation) if a is not NoneType]
        assert origin in (list, Annotated) or (origin in (Union, UnionType) and len(arguments) == 1), annotation
        annotation = arguments[0]
    return many, annotation
