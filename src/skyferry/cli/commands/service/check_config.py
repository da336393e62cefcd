"""`skyferry check-config`: check the configuration."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from skyferry.cli.arguments.options import ConfigFile, Json, Workspace
from skyferry.cli.config_file import find_config
from skyferry.cli.exit_codes import ExitCode
from skyferry.cli.render import output
from skyferry.errors import ConfigError

if TYPE_CHECKING:
    from skyferry.config.reading.faults import ConfigFault

LOOP = "SKYFERRY_EVENT_LOOP"


def check_config(config: ConfigFile = None, workspace: Workspace = None, json: Json = False) -> None:
    """Report every fault of the configuration with its line, or else its routes. Accesses no store, queue or ledger.

    The configuration is that of --config, otherwise of SKYFERRY_CONFIG, otherwise skyferry.yaml or skyferry.yml in this folder,
    otherwise the embedded default. All commands follow this order.

    JSON: `ok`; `file`, null for the embedded default; and `faults` and `warnings`, each with `where`, `message`, `hint` and
    `line` (null if it is not in the file).
    """
    from skyferry.config.load import check

    source = find_config(config, os.environ)
    checked = check(source.file, os.environ, workspace)
    faults = (*checked.faults, *_check_loop())
    ok = not faults
    if json:
        file = source.file and str(source.file)
        output.print_json({"ok": ok, "file": file, "faults": faults, "warnings": checked.warnings})
    else:
        output.print_lines(
            f"configuration: {source}",
            *(f"fault: {fault}" for fault in faults),
            *(f"warning: {w}" for w in checked.warnings),
        )
        if ok:
            routes = checked.settings.routes
            output.print_lines(f"no faults; {output.format_count(len(routes), 'route')}:")
            output.print_lines(*(f"  {r.name}: {r.source} → {r.destination}, deletes: {r.deletes}" for r in routes))
    if not ok:
        raise click.exceptions.Exit(ExitCode.USAGE)


def _check_loop() -> list[ConfigFault]:
    """Return the fault of SKYFERRY_EVENT_LOOP, which `run` and `copy` would report."""
    if not (wanted := os.environ.get(LOOP, "").strip().lower()):
        return []
    from skyferry.cli.event_loop import choose_loop  # imports asyncio
    from skyferry.config.reading.faults import ConfigFault

    try:
        choose_loop(wanted)
    except ConfigError as error:
        return [ConfigFault(LOOP, error.message, f"{error.hint[:1].upper()}{error.hint[1:]}.")]
    return []
