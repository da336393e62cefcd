"""The command line. One file per command; what it needs is imported when it runs, so that `--help` is instant."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from skyferry.cli import exit_codes
from skyferry.cli.check_config import check_config
from skyferry.cli.dead_letters import app as dead_letters
from skyferry.cli.explain import explain
from skyferry.cli.run import run
from skyferry.cli.schema import schema
from skyferry.cli.status import status
from skyferry.cli.submit import submit
from skyferry.cli.transfers import transfers
from skyferry.cli.version import version
from skyferry.errors import SkyferryError

app = typer.Typer(
    name="skyferry",
    help="Copies each object to another store the moment it lands: verified, remembered, never backwards.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (run, submit, status, transfers, explain):
    app.command()(command)
app.add_typer(dead_letters, name="dead-letters")
for command in (check_config, schema, version):
    app.command()(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with a code of `ExitCode`. Expected errors are one line, without a traceback."""
    try:
        app(arguments, prog_name="skyferry")
    except SkyferryError as error:
        from skyferry.cli import output

        print(f"error: {output.safe_lines(str(error))}", file=sys.stderr)
        sys.exit(exit_codes.of(error))
