"""`skyferry doctor`: may it do what its routes need, found out by doing it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from skyferry.cli import resources
from skyferry.cli.arguments.options import ConfigFile, Json, Workspace
from skyferry.cli.exit_codes import ExitCode
from skyferry.cli.render import output

if TYPE_CHECKING:
    from skyferry.config.settings import Settings
    from skyferry.doctor import Check, Scope

SYMBOLS = {"ok": "✓", "wrong": "✗", "unknown": "–"}


def doctor(
    write: Annotated[
        bool,
        typer.Option("--write/--no-write", help="Write a canary object at each destination, read it, and delete it."),
    ] = True,
    events: Annotated[
        bool,
        typer.Option(
            "--events/--no-events",
            help="Write a canary at each source too, wait for its event in the queue, and delete it. Other messages that wait "
            "there are received once, and given back.",
        ),
    ] = False,
    wait: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", min=1, help="How long to wait for an event.")
    ] = 60.0,
    prefix: Annotated[
        str, typer.Option("--prefix", metavar="TEXT", help="Where canaries are written.")
    ] = "skyferry-doctor/",
    config: ConfigFile = None,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """See from where it runs whether the routes can work: who we are at each end, what we may do there, whether the bucket
    tells the queue of what the route takes, and how stores and queues are set up.

    A line begins with ✓ (right), ✗ (wrong) or – (not known: not tried, or we may not look; that is no fault). No permission
    is needed beyond those of the routes. A service that runs may take a canary's event: then its copy is looked for at
    the destination, and deleted there.

    JSON: `ok` (nothing is wrong), and `checks`, each with `kind` (store, queue, ledger or route), `where` (its name), `check` (a
    stable name), `what` (the same in words), `state` (ok, wrong or unknown), `detail` and `hint`. Exit code 1 says that something
    is wrong.
    """
    from skyferry.doctor import CheckState, Scope

    settings = resources.load_settings(config, workspace)
    found = asyncio.run(_examined(settings, Scope(write, events, prefix, wait)))
    ok = all(check.state is not CheckState.WRONG for check in found)
    if json:
        output.emit({"ok": ok, "checks": [_document(check) for check in found]})
    else:
        output.lines(*_lines(found, settings))
    if not ok:
        raise typer.Exit(ExitCode.FAILED)


async def _examined(settings: Settings, scope: Scope) -> list[Check]:
    from skyferry.doctor import examine

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, signal.raise_signal, signal.SIGINT)  # so it cleans up
    return await examine(settings, scope)


def _document(check: Check) -> dict[str, str]:
    return {
        "kind": check.kind,
        "where": check.where,
        "check": check.name,
        "what": check.what,
        "state": check.state,
        "detail": check.detail,
        "hint": check.hint,
    }


def _lines(found: Sequence[Check], settings: Settings) -> Iterator[str]:
    for (kind, where), checks in groupby(found, lambda check: (check.kind, check.where)):
        yield "ledger" if kind == "ledger" else f"{kind} {where}{_role(kind, where, settings)}"
        for check in checks:
            detail = f": {check.detail}" if check.detail else ""
            yield f"  {SYMBOLS[check.state]} {check.what}{detail}"
            if check.hint:
                yield f"      {check.hint}"


def _role(kind: str, where: str, settings: Settings) -> str:
    """What the routes use it for."""
    if kind == "route":
        route = next(route for route in settings.routes if route.name == where)
        return f", {route.source} to {route.destination}"
    if kind in ("queue", "ledger"):
        return ""
    source = ", ".join(route.name for route in settings.routes if route.source == where)
    destination = ", ".join(route.name for route in settings.routes if route.destination == where)
    roles = [f"{word} of {names}" for word, names in (("source", source), ("destination", destination)) if names]
    return f", {' and '.join(roles)}"
