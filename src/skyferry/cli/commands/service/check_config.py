"""`skyferry check-config`: every fault at once, with its line and a hint."""

from __future__ import annotations

import os

import typer

from skyferry.cli.arguments.options import ConfigFile, Json, Workspace
from skyferry.cli.exit_codes import ExitCode
from skyferry.cli.render import output


def check_config(config: ConfigFile = None, workspace: Workspace = None, json: Json = False) -> None:
    """Say everything that is wrong with the configuration, or what it does; touches nothing else.

    JSON: `ok`, and `faults` and `warnings`, each with `where`, `message`, `hint` and `line` (null if the file does not say it).
    """
    from skyferry.config.load import check

    checked = check(config, os.environ, workspace)
    ok = not checked.faults
    if json:
        output.emit({"ok": ok, "faults": checked.faults, "warnings": checked.warnings})
    else:
        output.lines(*(f"fault: {fault}" for fault in checked.faults), *(f"warning: {w}" for w in checked.warnings))
        if ok:
            routes = checked.settings.routes
            output.lines(f"no faults; {output.count(len(routes), 'route')}:")
            output.lines(*(f"  {r.name}: {r.source} → {r.destination}, deletes: {r.deletes}" for r in routes))
    if not ok:
        raise typer.Exit(ExitCode.USAGE)
