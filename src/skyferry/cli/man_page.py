"""The generator of the manual page: `python -m skyferry.cli.man_page FILE`, roff for `man -l FILE`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

import click

from skyferry import __version__
from skyferry.cli import app
from skyferry.cli.exit_codes import ExitCode
from skyferry.cli.reference import format_parameter, list_commands

INTRODUCTION = r"""
.SH DESCRIPTION
.B skyferry run
is the service. The other commands read its ledger and queues, or put events into them. They work whether a service runs or not.
.PP
The configuration is that of \-\-config, otherwise of SKYFERRY_CONFIG, otherwise skyferry.yaml or skyferry.yml in the current
folder, otherwise the embedded default: the folder skyferry\-data/source is mirrored to skyferry\-data/destination.
"""
FILES = r"""
.SH ENVIRONMENT
.TP
.B SKYFERRY_CONFIG
The configuration file.
.TP
.B SKYFERRY_SECTION__FIELD
Overrides a setting of the file, such as SKYFERRY_SERVER__LISTEN.
.SH FILES
.TP
.I skyferry.yaml
The configuration, in the current folder.
.TP
.I skyferry\-data
The workspace: the ledger and the queue of the embedded default.
.SH SEE ALSO
.BR rclone (1)
"""


def render_man_page() -> str:
    """Return the page of all commands, options and exit codes."""
    lines = [
        f'.TH SKYFERRY 1 "" "skyferry {__version__}" "User Commands"',
        ".SH NAME",
        r"skyferry \- copy each object to another store the moment it lands",
        ".SH SYNOPSIS",
        r".B skyferry",
        r"[\-h] [\-V] COMMAND [OPTIONS] [ARGUMENTS]",
        INTRODUCTION.strip(),
        ".SH COMMANDS",
        *_render_commands(app, "skyferry"),
        ".SH EXIT STATUS",
        *(line for code in ExitCode for line in (".TP", f".B {int(code)}", _escape(code.meaning))),
        FILES.strip(),
    ]
    return "\n".join(lines) + "\n"


def _render_commands(group: click.Group, path: str) -> Iterator[str]:
    for name, command in list_commands(group):
        if isinstance(command, click.Group):
            yield from _render_commands(command, f"{path} {name}")
            continue
        arguments = "".join(f" {format_parameter(p)}" for p in command.params if isinstance(p, click.Argument))
        yield f".SS {_escape(f'{path} {name}{arguments}')}"
        for paragraph in cleandoc(command.help or "").split("\n\n"):
            yield from (_escape(" ".join(paragraph.split())), ".PP")
        for parameter in command.params:
            if getattr(parameter, "help", None) and not getattr(parameter, "hidden", False):
                yield from (".TP", f".B {_escape(format_parameter(parameter))}", _escape(str(parameter.help)))


def _escape(text: str) -> str:
    r"""Escape backslashes and hyphens, and a control character at the beginning of a line."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-").replace("`", "").replace("…", "...")
    return rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render_man_page(), "utf-8")
