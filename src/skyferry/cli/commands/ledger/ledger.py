"""`skyferry ledger`: check it, back it up, rebuild it, migrate it."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click

from skyferry.cli import resources
from skyferry.cli.arguments.options import ConfigOptions, Json
from skyferry.cli.commands.ledger.migration import migrate, status
from skyferry.cli.exit_codes import ExitCode
from skyferry.cli.parameters import Argument, Option, build_group, format_command
from skyferry.cli.render import output
from skyferry.errors import SkyferryError

if TYPE_CHECKING:
    from skyferry.config.settings import Settings
    from skyferry.engine.rebuild import RebuildCounts
    from skyferry.ports.ledger import Backup, LedgerMaintenance


def check(at: ConfigOptions, json: Json = False) -> None:
    """Check the ledger for damage, and whether its records agree. A service may be running.

    Reads the whole file with SQLite; on a server, it only compares the records with each other.

    JSON: `file` (or the address), `ok`, and `problems`, one line each. Exit code 1 means that there are problems.
    """
    ledger, problems = asyncio.run(_check(at.load()))
    if json:
        output.print_json({"file": ledger.where, "ok": not problems, "problems": problems})
    else:
        output.print_lines(
            f"{ledger.where}: {'intact' if not problems else output.format_count(len(problems), 'problem')}"
        )
        output.print_lines(*(f"  {problem}" for problem in problems))
    if problems:
        print(ledger.remedy, file=sys.stderr)
        raise click.exceptions.Exit(ExitCode.FAILED)


def backup(
    *,
    target: Annotated[str, Argument(metavar="FILE", help="A new file, or a folder to create one in.")],
    at: ConfigOptions,
    json: Json = False,
) -> None:
    """Copy the ledger as of one moment into one file. A service may be running, and is not delayed.

    A ledger on a server is backed up by that server: the command fails, and says how.

    JSON: `file` and `size` in bytes.
    """
    if not target:
        raise click.BadParameter("the path is empty: name a file, or a folder such as .")
    if target.endswith("/") and not os.path.isdir(target):  # a Path has no final slash
        raise SkyferryError("the folder does not exist", where=target, hint="create it, or choose another folder")
    copy = asyncio.run(_back_up(at.load(), Path(target)))
    if json:
        output.print_json({"file": str(copy.file), "size": copy.size})
    else:
        output.print_lines(f"{copy.file}: {output.format_size(copy.size)}")


def rebuild(
    *,
    add: Annotated[
        bool, Option("--add", help="Add objects that an intact ledger does not know; no entry changes.")
    ] = False,
    moved: Annotated[
        bool,
        Option(
            "--moved",
            help="Also take copies whose source had another machine, folder or server, such as after a new host name.",
        ),
    ] = False,
    at: ConfigOptions,
    json: Json = False,
) -> None:
    """Rebuild a lost or damaged ledger from the provenance of the objects at the destinations.

    Lists every destination of a route and reads the provenance of each object. Restores for each destination key which version
    of which object it has, and which transfer copied it, so that deletes and duplicates are handled as before. Keeps the
    readable dead letters of a damaged ledger, and its file beside the new one. If interrupted, run it again. No service
    may have the file open; a ledger on a server may be in use.

    JSON: `file` (or the address) and `stores`, each with `store`, `objects`, `remembered`, `known` (before), `strangers` (not
    copied there by a route), `elsewhere` (copied from a store of the same name on another machine, or at another server) and
    `untold` (their origin is too long for the metadata).
    """
    where, found = asyncio.run(_rebuild(at.load(), add, moved))
    if elsewhere := sum(each.elsewhere for each in found):
        print(_format_elsewhere(elsewhere), file=sys.stderr)
    if json:
        output.print_json({"file": where, "stores": [asdict(each) for each in found]})
        return
    columns = ("destination", "objects", "remembered", "known", "strangers", "elsewhere", "untold")
    rows = [(r.store, *map(str, (r.objects, r.remembered, r.known, r.strangers, r.elsewhere, r.untold))) for r in found]
    output.print_table(columns, rows)


def _format_elsewhere(count: int) -> str:
    again = format_command("ledger rebuild --add --moved")
    return (
        f"{output.format_count(count, 'object')} came from a source of the same name on another machine, in another folder or at "
        "another server: left alone, and never deleted. If that is the source of this configuration, and only the name of its "
        f"machine (as of a new container), its path or its address has changed, run `{again}`."
    )


async def _check(settings: Settings) -> tuple[LedgerMaintenance, list[str]]:
    ledger = await _find_ledger(settings)
    return ledger, await ledger.find_damage()


async def _back_up(settings: Settings, target: Path) -> Backup:
    return await (await _find_ledger(settings)).back_up(target)


async def _find_ledger(settings: Settings) -> LedgerMaintenance:
    from skyferry.wiring import Opener

    hint = f"run `{format_command('ledger rebuild')}` to rebuild a lost one, or correct --workspace or --config"
    return await resources.find_ledger(Opener(settings), hint)


async def _rebuild(settings: Settings, add: bool, moved: bool) -> tuple[str, list[RebuildCounts]]:
    from skyferry.engine.rebuild import rebuild_ledger
    from skyferry.routing.routes import Routes
    from skyferry.wiring import Opener, protect_opened
    from skyferry.wiring.identities import mark_stores

    opener, routes = Opener(settings), Routes(settings, {} if moved else mark_stores(settings))
    maintenance = resources.ledger_maintenance(opener)
    names = dict.fromkeys(route.store for route in routes)
    stores = {name: protect_opened(opener, opener.store(name)) for name in names}
    found: dict[str, RebuildCounts] = {}
    try:
        async with maintenance.rebuild(add=add) as ledger:
            async for each in rebuild_ledger(ledger, stores, routes, opener.clock):
                found[each.store] = each
    finally:
        for store in stores.values():
            await store.close()
        await opener.close()
    return maintenance.where, list(found.values())


group = build_group("Check, back up, rebuild and migrate the ledger.", (status, check, backup, rebuild, migrate))
