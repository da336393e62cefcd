"""`skyferry ledger status` and `skyferry ledger migrate`: the schema of the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from skyferry.cli import resources
from skyferry.cli.arguments.options import ConfigOptions, Json
from skyferry.cli.parameters import Option, format_command
from skyferry.cli.render import output
from skyferry.errors import LedgerIncompatible

if TYPE_CHECKING:
    from skyferry.config.settings import Settings
    from skyferry.ports.ledger import LedgerMaintenance, LedgerStatus


def status(at: ConfigOptions, json: Json = False) -> None:
    """Show the engine, the schema and the size of the ledger. A service may be running.

    JSON: `ledger`, `engine`, `version` of the schema, `compatible_from` (the oldest version that a program which uses it may
    know), `known` (the version that this Skyferry knows), `pending` steps, `transfers` (count by state; null if this Skyferry is
    too old to read them), and `size` in bytes.
    """
    settings = at.load()
    where, found = asyncio.run(_read_status(settings))
    if json:
        output.print_json({"ledger": where, **asdict(found)})
        return
    output.print_lines(
        f"ledger     {where}",
        f"engine     {found.engine}",
        f"schema     {_describe_schema(found)}",
        *(f"pending    {step}" for step in found.pending),
        f"transfers  {_describe_transfers(found)}",
        f"size       {output.format_size(found.size)}",
    )


def migrate(
    *,
    dry_run: Annotated[bool, Option("--dry-run", help="Print the pending steps only.")] = False,
    create: Annotated[bool, Option("--create", help="Create the ledger if it is missing.")] = False,
    at: ConfigOptions,
    json: Json = False,
) -> None:
    """Apply the pending steps of the schema of the ledger, and print each.

    A worker applies expansions by itself at its start. Use this command if its role lacks the right, and for contractions,
    which end the compatibility with older releases: they wait until no older program uses the ledger. A service of this
    release may be running. Repeat the command if it was interrupted.

    JSON: `ledger` and `steps`, those applied or, with --dry-run, those pending.
    """
    settings = at.load()
    steps = list[str]()
    maintenance = asyncio.run(_migrate(settings, steps, dry_run=dry_run, create=create, quiet=json))
    if json:
        output.print_json({"ledger": maintenance.where, "steps": steps})
    elif not steps:
        output.print_lines(f"{maintenance.where}: up to date")


async def _read_status(settings: Settings) -> tuple[str, LedgerStatus]:
    ledger = await _find_ledger(settings)
    return ledger.where, await ledger.read_status()


async def _migrate(
    settings: Settings, steps: list[str], *, dry_run: bool, create: bool, quiet: bool
) -> LedgerMaintenance:
    """Append each step, and print it unless `quiet`. Return the maintenance of the ledger."""
    ledger = await _find_ledger(settings, create=create)
    async for step in _list_pending(ledger) if dry_run else ledger.migrate():
        steps.append(step)
        if not quiet:
            output.print_lines(f"{step}: {'pending' if dry_run else 'applied'}")
    return ledger


async def _list_pending(ledger: LedgerMaintenance) -> AsyncIterator[str]:
    """Iterate over the pending steps. Raises LedgerIncompatible, as the migration would."""
    found = await ledger.read_status()
    if found.compatible_from > found.known:
        raise LedgerIncompatible(f"its schema has {_describe_schema(found)}", where=ledger.where)
    for step in found.pending:
        yield step


async def _find_ledger(settings: Settings, *, create: bool = False) -> LedgerMaintenance:
    from skyferry.wiring import Opener

    opener = Opener(settings)
    if create:
        return resources.ledger_maintenance(opener)
    hint = f"run `{format_command('ledger migrate --create')}` to create it, or correct ledger.url, --workspace or --config"
    return await resources.find_ledger(opener, hint)


def _describe_schema(found: LedgerStatus) -> str:
    version = f"version {found.version}" if found.version else "from before there were versions"
    knows = f"this Skyferry knows version {found.known}"
    if found.compatible_from > found.known:
        return f"{version}, for programs from version {found.compatible_from}; {knows} and cannot use it: update it"
    return f"{version}; {knows}"


def _describe_transfers(found: LedgerStatus) -> str:
    if found.transfers is None:
        return "unknown"
    return ", ".join(f"{number:,} {state}" for state, number in found.transfers.items() if number) or "none yet"
