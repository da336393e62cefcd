"""`skyferry check-config`: check the configuration."""

from __future__ import annotations

import os

import click

from skyferry.cli.arguments.options import ConfigFile, Json, Workspace
from skyferry.cli.exit_codes import ExitCode
from skyferry.cli.render import output


def check_config(config: ConfigFile = None, workspace: Workspace = None, json: Json = False) -> None:
    """Report every fault of the configuration with its line, or else its routes. Accesses no store, queue or ledger.

    JSON: `ok`, and `faults` and `warnings`, each with `where`, `message`, `hint` and `line` (null if it is not in the file).
    """
    from skyferry.config.load import check

    checked = check(config, os.environ, workspace)
    ok = not checked.faults
    if json:
        output.print_json({"ok": ok, "faults": checked.faults, "warnings": checked.warnings})
    else:
        output.print_lines(
            *(f"fault: {fault}" for fault in checked.faults), *(f"warning: {w}" for w in checked.warnings)
        )
        if ok:
            routes = checked.settings.routes
            output.print_lines(f"no faults; {output.format_count(len(routes), 'route')}:")
            output.print_lines(*(f"  {r.name}: {r.source} → {r.destination}, deletes: {r.deletes}" for r in routes))
    if not ok:
        raise click.exceptions.Exit(ExitCode.USAGE)
