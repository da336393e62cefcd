"""The command line: one module per command. Commands import their dependencies when they run, so that `--help` is fast."""

from __future__ import annotations

import sys
from asyncio import CancelledError
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import typer

from skyferry.cli import exit_codes, streams
from skyferry.cli.commands.ledger.dead_letters import app as dead_letters
from skyferry.cli.commands.ledger.deletes import app as deletes
from skyferry.cli.commands.ledger.explain import explain
from skyferry.cli.commands.ledger.ledger import app as ledger
from skyferry.cli.commands.ledger.transfers import transfers
from skyferry.cli.commands.objects.conformance import conformance
from skyferry.cli.commands.objects.copy import copy
from skyferry.cli.commands.objects.gc import gc
from skyferry.cli.commands.objects.head import head
from skyferry.cli.commands.objects.ls import ls
from skyferry.cli.commands.service.check_config import check_config
from skyferry.cli.commands.service.doctor import doctor
from skyferry.cli.commands.service.policy import policy
from skyferry.cli.commands.service.run import run
from skyferry.cli.commands.service.schema import schema
from skyferry.cli.commands.service.status import status
from skyferry.cli.commands.service.submit import submit
from skyferry.cli.commands.service.version import version
from skyferry.cli.render import output
from skyferry.cli.streams import OutputLost
from skyferry.errors import SkyferryError

E = TypeVar("E", bound=BaseException)

app = typer.Typer(
    name="skyferry",
    help="Copies each object to another store the moment it lands: verified, remembered, never backwards.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # wraps help texts to the width of the terminal
)
_COMMANDS: tuple[Callable[..., None], ...] = (
    run,
    copy,
    ls,
    head,
    submit,
    status,
    transfers,
    explain,
    check_config,
    doctor,
    policy,
    conformance,
    gc,
    schema,
    version,
)
for _command in _COMMANDS:
    app.command()(_command)
app.add_typer(dead_letters, name="dead-letters")
app.add_typer(ledger, name="ledger")
app.add_typer(deletes, name="deletes")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command, and exit with a code of `ExitCode`. Prints expected errors as one line each, without a traceback."""
    expected: list[SkyferryError] = []
    interrupted = False
    lost: OutputLost | None = None
    streams.install_streams()
    try:
        with streams.flush_on_exit():
            app(arguments, prog_name="skyferry")
    except* OutputLost as group:
        lost = next(_flatten_group(group))
    except* SkyferryError as group:
        expected = list(_flatten_group(group))
    except* (
        CancelledError
    ):  # a signal during the failure of tasks: asyncio.run does not translate it to KeyboardInterrupt
        interrupted = True
    if lost is not None and lost.broken:
        sys.exit(exit_codes.ExitCode.BROKEN_PIPE)  # no message: the reader has enough
    if lost is not None:
        print(f"error: {lost}", file=sys.stderr)
        sys.exit(exit_codes.ExitCode.FAILED)
    for error in expected:
        print(f"error: {output.escape_lines(str(error))}", file=sys.stderr)
    if expected:
        sys.exit(exit_codes.exit_code_for(expected[0]))
    if interrupted:
        sys.exit(exit_codes.ExitCode.INTERRUPTED)


def _flatten_group(group: BaseExceptionGroup[E]) -> Iterator[E]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _flatten_group(error)
        else:
            yield error
