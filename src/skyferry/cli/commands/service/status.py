"""`skyferry status`: how much is done, waiting and given up, and whether a service works on it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from skyferry.cli import client, resources
from skyferry.cli.arguments.options import ConfigFile, Json, Url, Workspace
from skyferry.cli.render import output
from skyferry.clock import SystemClock
from skyferry.errors import QueueError, SkyferryError
from skyferry.ports.ledger.held_deletes import sum_by_store
from skyferry.status import describe_unrouted

if TYPE_CHECKING:
    from skyferry.config.settings import Settings

PATIENCE = 1.0  # seconds for a service that may not be there


def status(url: Url = "", config: ConfigFile = None, workspace: Workspace = None, json: Json = False) -> None:
    """Show how the work stands, from the ledger and the queues; and the service, if one answers at server.listen.

    With --url only the service is asked, and exit code 4 says that it does not answer.

    JSON: `transfers` (number by state), `dead_letters`, `unrouted`, `held_deletes` (by source), `queues` and `oldest`, as in
    the answer of `GET /v1/status`; `unknown`, the reason for each queue that cannot be asked; and that answer itself as
    `service`, null if none answers.
    """
    settings = resources.load_settings(config, workspace)
    if url:
        service = client.get(url, "/v1/status", settings.server, workspace=settings.workspace)
        names = ("transfers", "dead_letters", "unrouted", "held_deletes", "queues", "oldest")
        document = {name: service.get(name) for name in names} | {"unknown": {}, "service": service}
    else:
        document = {**asyncio.run(_look(settings)), "service": _service(settings)}
    if json:
        output.emit(document)
    else:
        _show(document)


async def _look(settings: Settings) -> dict[str, Any]:
    from skyferry.server.models import DepthView

    async with resources.opened_ledger(settings) as ledger:
        counts = await ledger.count_transfers()
        letters = sum(count for _, _, count in await ledger.count_dead_letters())
        buckets, held = dict(await ledger.count_unrouted()), sum_by_store(await ledger.count_held_deletes())
        now, first = SystemClock().time(), await ledger.find_oldest_unsettled()
    oldest = {route.name: max(0.0, now - first.pop(route.name, now)) for route in settings.routes}
    oldest |= {route: max(0.0, now - at) for route, at in first.items()}  # of routes that are not configured any more
    queues, unknown = {}, {}
    for each in settings.queues:
        try:
            async with resources.opened_queue(settings, each.name) as queue:
                queues[each.name] = DepthView.model_validate(await queue.depth()).model_dump()
        except QueueError as error:
            unknown[each.name] = str(error)
    told = {"transfers": counts, "dead_letters": letters, "unrouted": buckets, "held_deletes": held}
    return {**told, "queues": queues, "oldest": oldest, "unknown": unknown}


def _service(settings: Settings) -> Mapping[str, Any] | None:
    try:
        answer = client.get(
            f"http://{settings.server.listen}", "/v1/status", settings.server, PATIENCE, settings.workspace
        )
    except SkyferryError:
        return None  # none, or not ours: both are an answer to the question
    return answer if isinstance(answer, dict) else None


def _show(document: Mapping[str, Any]) -> None:
    service = document["service"]
    output.lines(f"service    {_living(service)}" if service else "service    none answers")
    for check in service.get("checks", ()) if service else ():
        if check["state"] != "ok":
            output.lines(f"{check['state']:<11}{_part(check)}: {check['message']}")
    transfers = ", ".join(f"{number:,} {state}" for state, number in document["transfers"].items() if number)
    output.lines(f"transfers  {transfers or 'none yet'}")
    for route, age in (document["oldest"] or {}).items():
        if age > 0:
            output.lines(f"behind     {route}: the oldest event that is not settled is {output.span(age)} old")
    receives = service.get("receives", {}) if service else {}
    for name, depth in document["queues"].items():
        ago = f"; the last receive {output.span(receives[name])} ago" if name in receives else ""
        output.lines(f"queue      {name}: {_full(depth)}{ago}")
    for name, why in document["unknown"].items():
        output.lines(f"queue      {name}: cannot be asked: {why}")
    letters = document["dead_letters"]
    if letters is None:
        output.lines("given up   not known: the ledger does not answer")
    else:
        hint = ": skyferry dead-letters list" if letters else ""
        output.lines(f"given up   {output.count(letters, 'dead letter')}{hint}")
    output.lines(
        *(f"unrouted   {describe_unrouted(bucket, count)}" for bucket, count in (document["unrouted"] or {}).items())
    )
    for store, count in (document["held_deletes"] or {}).items():
        output.lines(f"held       {output.count(count, 'delete')} of {store}: skyferry deletes list")


def _part(check: Mapping[str, Any]) -> str:
    return str(check["part"] if check["part"] == check["name"] else f"{check['part']} {check['name']}")


def _full(depth: Mapping[str, Any]) -> str:
    """How full a queue is, as far as its provider tells."""
    words = {"ready": "ready", "leased": "in hand", "delayed": "delayed"}
    told = [f"{depth[name]:,} {word}" for name, word in words.items() if depth[name] is not None]
    told += [f"the oldest for {output.span(depth['oldest_age'])}"] if depth["oldest_age"] > 0 else []
    return ", ".join(told) or "the provider does not tell how many messages wait"


def _living(service: Mapping[str, Any]) -> str:
    opened = [f"{store} {state}" for store, state in service.get("breakers", {}).items() if state != "closed"]
    since = output.when(datetime.fromisoformat(service["started_at"]).timestamp())
    text = f"{service['state']} since {since}, {service['in_flight']:,} in flight"
    return text + (f", breakers: {', '.join(opened)}" if opened else "")
