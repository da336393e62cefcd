"""The generator of `docs/reference/cli.md` and `exit-codes.md`: `python -m skyferry.cli.reference CLI_PAGE EXIT_CODES_PAGE`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from typing import Any

from typer.main import get_command

from skyferry.cli import app
from skyferry.cli.exit_codes import ExitCode

INTRODUCTION = Path(__file__).with_name("reference.md")


def render_cli_page() -> str:
    """Return the page of all commands with their arguments, options and JSON."""
    return "".join([INTRODUCTION.read_text("utf-8"), *_render_command(get_command(app), "skyferry")])


def render_exit_codes_page() -> str:
    """Return the page of all exit codes."""
    rows = (f"| {int(code)} | `{code.name}` | {code.meaning} |\n" for code in ExitCode)
    return (
        "# Exit codes\n\nEvery command ends with one of these.\n\n| code | name | means |\n|---|---|---|\n"
        + "".join(rows)
    )


def _render_command(command: Any, path: str) -> Iterator[str]:
    """Yield the sections of a command and its subcommands. `Any`: the classes below typer are not public."""
    below = getattr(command, "commands", None)
    if below is None:
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        names = "".join(f" {_format_name(p)}" for p in arguments)
        yield f"\n## `{path}{names}`\n\n{cleandoc(command.help or '')}\n"
        yield from _render_table(command.params)
    for name, each in (below or {}).items():
        yield from _render_command(each, f"{path} {name}")


def _render_table(parameters: list[Any]) -> Iterator[str]:
    shown = [p for p in parameters if p.name != "help" and p.help]
    if shown:
        yield "\n| | default | |\n|---|---|---|\n"
    for parameter in shown:
        yield f"| `{_escape_cell(_format_name(parameter))}` | {_format_default(parameter)} | {_escape_cell(parameter.help)} |\n"


def _format_name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        text = parameter.metavar or parameter.name.upper()
        return text if parameter.required or text.startswith("[") else f"[{text}]"
    names = " / ".join([*parameter.opts, *parameter.secondary_opts])
    if parameter.is_flag:
        return names
    return f"{names} {parameter.metavar}"


def _format_default(parameter: Any) -> str:
    value = parameter.default
    if value in (None, "", False) or callable(value) or parameter.param_type_name == "argument":
        return ""
    return f"`{value}`"


def _escape_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    for page, name in zip((render_cli_page(), render_exit_codes_page()), sys.argv[1:], strict=True):
        Path(name).write_text(page, "utf-8")
