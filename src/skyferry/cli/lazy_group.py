"""The group of all commands. A command is imported when it runs, so that `--help` and completion are fast."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

from skyferry.cli.arguments.other_tools import explain_command
from skyferry.cli.command_table import COMMANDS, CommandEntry
from skyferry.cli.parameters import build_command


@cache
def load_command(entry: CommandEntry) -> click.Command:
    """Import a command."""
    found = getattr(import_module(f"skyferry.cli.commands.{entry.module}"), entry.attribute)
    command: click.Command = found if entry.is_group else build_command(found, entry.name)
    command.name = entry.name
    return command


class LazyGroup(click.Group):
    """The group `skyferry`."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._entries = {entry.name: entry for entry in COMMANDS}

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is no such command."""
        return load_command(self._entries[cmd_name]) if cmd_name in self._entries else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that `args` name. Raises NoSuchCommand, which suggests near names."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            if hint := explain_command(error.command_name):
                raise click.UsageError(f"No such command '{error.command_name}'. {hint}", ctx) from None
            raise click.exceptions.NoSuchCommand(error.command_name, possibilities=self._entries, ctx=ctx) from None

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order of the table."""
        return list(self._entries)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the summaries of the commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(entry.name, entry.summary) for entry in COMMANDS])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the name of a command, or an option."""
        found = [CompletionItem(e.name, help=e.summary) for e in COMMANDS if e.name.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]
