"""`skyferry ledger`: whether its file is whole, a backup, and what to do when it is lost."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skyferry.cli import resources
from skyferry.cli.arguments.options import ConfigFile, Json, Workspace
from skyferry.cli.exit_codes import ExitCode
from skyferry.cli.render import output
from skyferry.errors import NotFound

if TYPE_CHECKING:
    from skyferry.config.settings import Settings
    from skyferry.engine.rebuild import Rebuilt

app = typer.Typer(help="Check, back up and rebuild the file of the ledger.", no_args_is_help=True)


@app.command()
def check(config: ConfigFile = None, workspace: Workspace = None, json: Json = False) -> None:
    """Look through the whole file of the ledger for damage, and see whether its tables agree. A service may run meanwhile.

    JSON: `file`, `ok`, and `problems`, one line each. Exit code 1 says that there are problems.
    """
    from skyferry.wiring import ledger_file as files

    file = _existing(resources.load_settings(config, workspace))
    problems = files.check(file)
    if json:
        output.emit({"file": str(file), "ok": not problems, "problems": problems})
    else:
        output.lines(f"{file}: {'it is whole' if not problems else output.count(len(problems), 'problem')}")
        output.lines(*(f"  {problem}" for problem in problems))
    if problems:
        print("stop the service, then run `skyferry ledger rebuild` or put a backup in its place", file=sys.stderr)
        raise typer.Exit(ExitCode.FAILED)


@app.command()
def backup(
    target: Annotated[Path, typer.Argument(metavar="FILE", help="A new file, or a folder to put one into.")],
    config: ConfigFile = None,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Copy the ledger as it is at one moment into one file. A service may run meanwhile, and is not held up.

    JSON: `file` and `size` in bytes.
    """
    from skyferry.wiring import ledger_file as files

    file = _existing(resources.load_settings(config, workspace))
    if target.is_dir():
        target /= f"{file.stem}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.db"
    size = files.backup(file, target)
    if json:
        output.emit({"file": str(target), "size": size})
    else:
        output.lines(f"{target}: {output.size(size)}")


@app.command()
def rebuild(
    add: Annotated[
        bool, typer.Option("--add", help="Add to a ledger that is whole what it does not know; nothing in it changes.")
    ] = False,
    config: ConfigFile = None,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Make a lost or damaged ledger again from what the objects at the destinations say of their origin.

    Every destination of a route is listed, and each object asked for its stamp. What is made anew: what each destination key
    holds, from which version, and which transfer made it; so deletes and duplicates are handled as before. Dead letters of a
    damaged ledger are kept if they can be read; its file is kept beside the new one. It may be interrupted and run again.
    No service may have the ledger open.

    JSON: `file` and `stores`, each with `store`, `objects`, `remembered`, `known` (before), `strangers` (not copied there by a
    route) and `untold` (their origin is too long to be in the stamp).
    """
    from skyferry.wiring import ledger_file as files

    settings = resources.load_settings(config, workspace)
    found = asyncio.run(_rebuilt(settings, add))
    if json:
        output.emit({"file": str(files.ledger_file(settings)), "stores": [asdict(each) for each in found]})
        return
    columns = ("destination", "objects", "remembered", "known", "strangers", "untold")
    rows = [(r.store, *map(str, (r.objects, r.remembered, r.known, r.strangers, r.untold))) for r in found]
    output.table(columns, rows)


def _existing(settings: Settings) -> Path:
    from skyferry.wiring.ledger_file import ledger_file

    file = ledger_file(settings)
    if not file.exists():
        hint = "`skyferry ledger rebuild` makes a lost one again; --workspace and --config say where"
        raise NotFound("there is no ledger", where=str(file), hint=hint)
    return file


async def _rebuilt(settings: Settings, add: bool) -> list[Rebuilt]:
    from skyferry.engine.rebuild import rebuild
    from skyferry.routing.routes import Routes
    from skyferry.wiring import Opener, protect_opened
    from skyferry.wiring.ledger_file import rebuild_ledger

    opener, routes = Opener(settings), Routes(settings)
    names = dict.fromkeys(route.store for route in routes)
    stores = {name: protect_opened(opener, opener.store(name)) for name in names}
    found: dict[str, Rebuilt] = {}
    try:
        async with rebuild_ledger(opener, add=add) as ledger:
            async for each in rebuild(ledger, stores, routes, opener.clock):
                found[each.store] = each
    finally:
        for store in stores.values():
            await store.close()
        await opener.close()
    return list(found.values())
