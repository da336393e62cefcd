"""The generator of `docs/reference/cli.md` and `exit-codes.md`: `python -m skyferry.cli.reference CLI_PAGE EXIT_CODES_PAGE`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from typing import Any

import click

from skyferry.cli import app
from skyferry.cli.exit_codes import ExitCode

INTRODUCTION = Path(__file__).with_name("reference.md")


def render_cli_page() -> str:
    """Return the page of all commands with their arguments, options and JSON."""
    return "".join([INTRODUCTION.read_text("utf-8"), *_render_command(app, "skyferry")])


def render_exit_codes_page() -> str:
    """Return the page of all exit codes."""
    rows = (f"| {int(code)} | `{code.name}` | {code.meaning} |\n" for code in ExitCode)
    return (
        "# Exit codes\n\nEvery command ends with one of these.\n\n| code | name | means |\n|---|---|---|\n"
        + "".join(rows)
    )


def _render_command(command: click.Command, path: str) -> Iterator[str]:
    """Yield the sections of a command, or of the commands of a group."""
    if isinstance(command, click.Group):
        for name, below in list_commands(command):
            yield from _render_command(below, f"{path} {name}")
        return
    names = "".join(f" {format_parameter(p)}" for p in command.params if isinstance(p, click.Argument) and p.metavar)
    yield f"\n## `{path}{names}`\n\n{cleandoc(command.help or '')}\n"
    yield from _render_table(command.params)


def list_commands(group: click.Group) -> Iterator[tuple[str, click.Command]]:
    """Yield the commands of a group with their names."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield name, command


def _render_table(parameters: list[Any]) -> Iterator[str]:
    shown = [p for p in parameters if p.name != "help" and p.help]
    if shown:
        yield "\n| | default | |\n|---|---|---|\n"
    for parameter in shown:
        yield f"| `{_escape_cell(format_parameter(parameter))}` | {_format_default(parameter)} | {_escape_cell(parameter.help)} |\n"


def format_parameter(parameter: Any) -> str:
    """Return the names of a parameter as they are typed."""
    if parameter.param_type_name == "argument":
        text = parameter.metavar or parameter.name.upper()
        return text if parameter.required or text.startswith("[") else f"[{text}]"
    names = " / ".join([*parameter.opts, *parameter.secondary_opts])
    return names if parameter.is_flag else f"{names} {parameter.make_metavar(click.Context(app))}"


def _format_default(parameter: Any) -> str:
    value = parameter.default
    if parameter.param_type_name == "argument" or value in (None, "", False):
        return ""
    return f"`{value}`"


def _escape_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    for page, name in zip((render_cli_page(), render_exit_codes_page()), sys.argv[1:], strict=True):
        Path(name).write_text(page, "utf-8")
