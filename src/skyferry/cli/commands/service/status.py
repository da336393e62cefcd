"""`skyferry status`: show the status of the work and of the service."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError

import click

from skyferry.cli import client, resources
from skyferry.cli.arguments.options import ConfigFile, Json, Url, Workspace
from skyferry.cli.exit_codes import ExitCode
from skyferry.cli.parameters import format_command
from skyferry.cli.render import output
from skyferry.clock import SystemClock
from skyferry.errors import ConfigError, QueueError, ServiceUnreachable, SkyferryError
from skyferry.ports.ledger.held_deletes import sum_by_store
from skyferry.status import describe_unrouted

if TYPE_CHECKING:
    from skyferry.config.settings import Settings
    from skyferry.ports import Depth

PATIENCE = 6.0  # seconds to wait for a service that is starting; one that does not run is known at once


def status(url: Url = "", config: ConfigFile = None, workspace: Workspace = None, json: Json = False) -> None:
    """Show the status of the work, from the ledger and the queues, and of the service, if it responds at `server.listen`.

    With --url, ask only the service; exit code 4 means that it does not respond.

    JSON: `transfers` (count by state), `dead_letters`, `unrouted`, `held_deletes` (by source), `workers` (count by state),
    `queues` and `oldest`, as in `GET /v1/status`; `unknown`, the reason for each queue that cannot be reached; and the response
    of the service as `service`, null if it does not respond. `foreign` describes another program or the service of another
    workspace that answers at `server.listen`; then the exit code is 1.
    """
    settings = resources.load_settings(config, workspace)
    if url:
        service = client.get_json(url, "/v1/status", settings.server, workspace=settings.workspace)
        names = ("transfers", "dead_letters", "unrouted", "held_deletes", "workers", "queues", "oldest")
        document = {name: service.get(name) for name in names} | {"unknown": {}, "service": service, "foreign": ""}
    else:
        service, foreign = _ask_service(settings)
        document = {**asyncio.run(_read_status(settings)), "service": service, "foreign": foreign}
    if json:
        output.print_json(document)
    else:
        _print_status(document)
    if document["foreign"]:
        raise click.exceptions.Exit(ExitCode.FAILED)


async def _read_status(settings: Settings) -> dict[str, Any]:
    async with resources.open_ledger(settings, reads=True) as ledger:
        counts = await ledger.count_transfers()
        letters = sum(count for _, _, count in await ledger.count_dead_letters())
        buckets, held = dict(await ledger.count_unrouted()), sum_by_store(await ledger.count_held_deletes())
        workers = await ledger.count_workers()
        now, first = SystemClock().time(), await ledger.find_oldest_unsettled()
    oldest = {route.name: max(0.0, now - first.pop(route.name, now)) for route in settings.routes}
    oldest |= {route: max(0.0, now - at) for route, at in first.items()}  # of routes that are no longer configured
    queues, unknown = {}, {}
    for each in settings.queues:
        try:
            async with resources.open_queue(settings, each.name) as queue:
                queues[each.name] = _to_document(await queue.depth())
        except QueueError as error:
            unknown[each.name] = str(error)
    found = {
        "transfers": counts,
        "dead_letters": letters,
        "unrouted": buckets,
        "held_deletes": held,
        "workers": workers,
    }
    return {**found, "queues": queues, "oldest": oldest, "unknown": unknown}


def _to_document(depth: Depth) -> dict[str, int | float | None]:
    """Return a depth as the service shows it: null where the provider does not report a number."""
    return {name: None if value < 0 else value for name, value in asdict(depth).items()}


def _ask_service(settings: Settings) -> tuple[Mapping[str, Any] | None, str]:
    """Return the status of the service of this workspace, and a description of anything else that answers there."""
    url = f"http://{settings.server.listen}"
    try:
        answer = client.get_json(url, "/v1/status", settings.server, PATIENCE, settings.workspace)
    except ServiceUnreachable as error:
        silent = isinstance(error.__cause__, URLError | TimeoutError) and not isinstance(error.__cause__, HTTPError)
        return None, "" if silent else f"another program answers at {url}"
    except ConfigError:
        return None, f"a service with another token answers at {url}: of another workspace or user, or another program"
    except SkyferryError:
        return None, f"another program answers at {url}"
    if not isinstance(answer, dict) or "version" not in answer or "in_flight" not in answer:
        return None, f"another program answers at {url}"
    if "workspace" not in answer:
        return (
            None,
            f"Skyferry {answer['version']} answers at {url}, which is too old to name its workspace: restart it",
        )
    if answer["workspace"] != str(settings.workspace.resolve()):
        return None, f"the service of another workspace answers at {url}: {answer['workspace']}"
    return answer, ""


def _print_status(document: Mapping[str, Any]) -> None:
    service = document["service"]
    if document["foreign"]:
        output.print_lines(f"service    not here: {document['foreign']}", "           set server.listen or --workspace")
    else:
        output.print_lines(f"service    {_describe_service(service)}" if service else "service    does not respond")
    for check in service.get("checks", ()) if service else ():
        if check["state"] != "ok":
            output.print_lines(f"{check['state']:<11}{_describe_part(check)}: {check['message']}")
    workers = ", ".join(f"{number:,} {state}" for state, number in (document["workers"] or {}).items() if number)
    output.print_lines(f"workers    {workers or 'none'}")
    transfers = ", ".join(f"{number:,} {state}" for state, number in document["transfers"].items() if number)
    output.print_lines(f"transfers  {transfers or 'none yet'}")
    for route, age in (document["oldest"] or {}).items():
        if age > 0:
            output.print_lines(f"behind     {route}: the oldest unsettled event is {output.format_duration(age)} old")
    receives = service.get("receives", {}) if service else {}
    for name, depth in document["queues"].items():
        ago = f"; the last receive {output.format_duration(receives[name])} ago" if name in receives else ""
        output.print_lines(f"queue      {name}: {_describe_depth(depth)}{ago}")
    for name, why in document["unknown"].items():
        output.print_lines(f"queue      {name}: unreachable: {why}")
    letters = document["dead_letters"]
    if letters is None:
        output.print_lines("dead       unknown: the ledger does not respond")
    else:
        hint = f": {format_command('dead-letters list')}" if letters else ""
        output.print_lines(f"dead       {output.format_count(letters, 'dead letter')}{hint}")
    output.print_lines(
        *(f"unrouted   {describe_unrouted(bucket, count)}" for bucket, count in (document["unrouted"] or {}).items())
    )
    for store, count in (document["held_deletes"] or {}).items():
        output.print_lines(
            f"held       {output.format_count(count, 'delete')} of {store}: {format_command('deletes list')}"
        )


def _describe_part(check: Mapping[str, Any]) -> str:
    return str(check["part"] if check["part"] == check["name"] else f"{check['part']} {check['name']}")


def _describe_depth(depth: Mapping[str, Any]) -> str:
    """Describe the depth of a queue, as far as its provider reports it."""
    all_in_one = depth["leased"] is None and depth["ready"] is not None  # Azure, R2
    words = {"ready": "ready or in flight" if all_in_one else "ready", "leased": "in flight", "delayed": "delayed"}
    parts = [f"{depth[name]:,} {word}" for name, word in words.items() if depth[name] is not None]
    parts += [f"the oldest for {output.format_duration(depth['oldest_age'])}"] if (depth["oldest_age"] or 0) > 0 else []
    return ", ".join(parts) or "the provider does not report the number of messages"


def _describe_service(service: Mapping[str, Any]) -> str:
    opened = [f"{store} {state}" for store, state in service.get("breakers", {}).items() if state != "closed"]
    since = output.format_time(datetime.fromisoformat(service["started_at"]).timestamp())
    text = f"{service['state']} since {since}, {service['in_flight']:,} in flight"
    return text + (f", breakers: {', '.join(opened)}" if opened else "")
