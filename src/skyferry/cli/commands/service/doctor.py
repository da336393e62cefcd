"""`skyferry doctor`: test whether the routes can work."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import click

from skyferry.cli import resources
from skyferry.cli.arguments.options import ConfigFile, Json, Workspace
from skyferry.cli.exit_codes import ExitCode
from skyferry.cli.parameters import Option
from skyferry.cli.render import output
from skyferry.cli.signals import treat_sigterm_as_interrupt

if TYPE_CHECKING:
    from skyferry.config.settings import Settings
    from skyferry.doctor import Check, Scope

SYMBOLS = {"ok": "✓", "wrong": "✗", "unknown": "–"}


def doctor(
    write: Annotated[
        bool,
        Option("--write/--no-write", help="Write a canary object to each destination, read it, and delete it."),
    ] = True,
    events: Annotated[
        bool,
        Option(
            "--events/--no-events",
            help="Also write a canary to each source, wait for its event in the queue, and delete it. Other waiting messages "
            "are received once, and released.",
        ),
    ] = False,
    wait: Annotated[float, Option("--wait", metavar="SECONDS", min=1, help="How long to wait for the event.")] = 60.0,
    prefix: Annotated[str, Option("--prefix", metavar="TEXT", help="The key prefix of canaries.")] = "skyferry-doctor/",
    config: ConfigFile = None,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Test from this machine whether the routes can work: the identity and permissions at each end, the notifications from
    bucket to queue, and the settings of stores and queues.

    Each line begins with ✓ (right), ✗ (wrong) or – (unknown: not tested, or access denied; this is not a fault). No
    permissions are needed beyond those of the routes. A running service may receive the event of a canary: then doctor finds
    its copy at the destination, and deletes it.

    JSON: `ok` (nothing is wrong), and `checks`, each with `kind` (store, queue, ledger or route), `where` (its name), `check`
    (a stable name), `what` (the description), `state` (ok, wrong or unknown), `detail` and `hint`. Exit code 1 means that
    something is wrong.
    """
    from skyferry.doctor import CheckState, Scope

    settings = resources.load_settings(config, workspace)
    found = asyncio.run(_run_checks(settings, Scope(write, events, prefix, wait)))
    ok = all(check.state is not CheckState.WRONG for check in found)
    if json:
        output.print_json({"ok": ok, "checks": [_format_check(check) for check in found]})
    else:
        output.print_lines(*_format_lines(found, settings))
    if not ok:
        raise click.exceptions.Exit(ExitCode.FAILED)


async def _run_checks(settings: Settings, scope: Scope) -> list[Check]:
    from skyferry.doctor import examine

    treat_sigterm_as_interrupt()
    return await examine(settings, scope)


def _format_check(check: Check) -> dict[str, str]:
    return {
        "kind": check.kind,
        "where": check.where,
        "check": check.name,
        "what": check.what,
        "state": check.state,
        "detail": check.detail,
        "hint": check.hint,
    }


def _format_lines(found: Sequence[Check], settings: Settings) -> Iterator[str]:
    for (kind, where), checks in groupby(found, lambda check: (check.kind, check.where)):
        yield "ledger" if kind == "ledger" else f"{kind} {where}{_describe_role(kind, where, settings)}"
        for check in checks:
            detail = f": {check.detail}" if check.detail else ""
            yield f"  {SYMBOLS[check.state]} {check.what}{detail}"
            if check.hint:
                yield f"      {check.hint}"


def _describe_role(kind: str, where: str, settings: Settings) -> str:
    """Return the role of a store or route."""
    if kind == "route":
        route = next(route for route in settings.routes if route.name == where)
        return f", {route.source} to {route.destination}"
    if kind in ("queue", "ledger"):
        return ""
    source = ", ".join(route.name for route in settings.routes if route.source == where)
    destination = ", ".join(route.name for route in settings.routes if route.destination == where)
    roles = [f"{word} of {names}" for word, names in (("source", source), ("destination", destination)) if names]
    return f", {' and '.join(roles)}"
