"""`skyferry status`: how much is done, waiting and given up, and whether a service works on it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from skyferry.cli import access, client, output
from skyferry.cli.options import ConfigFile, Json, Url, Workspace
from skyferry.errors import SkyferryError

if TYPE_CHECKING:
    from skyferry.config.settings import Settings

PATIENCE = 1.0  # seconds for a service that may not be there


def status(url: Url = "", config: ConfigFile = None, workspace: Workspace = None, json: Json = False) -> None:
    """Show how the work stands, from the ledger and the queues; and the service, if one answers at server.listen.

    With --url only the service is asked, and exit code 4 says that it does not answer.

    JSON: `transfers` (number by state), `dead_letters` and `queues`, as in the answer of `GET /v1/status`; and that answer
    itself as `service`, null if none answers.
    """
    settings = access.load_settings(config, workspace)
    if url:
        service = client.get(url, "/v1/status", settings.server)
        document = {name: service[name] for name in ("transfers", "dead_letters", "queues")} | {"service": service}
    else:
        document = {**asyncio.run(_look(settings)), "service": _service(settings)}
    if json:
        output.emit(document)
    else:
        _show(document)


async def _look(settings: Settings) -> dict[str, Any]:
    from skyferry.server.models import DepthView

    async with access.opened_ledger(settings) as ledger:
        counts = await ledger.counts()
        letters = sum(count for _, _, count in await ledger.causes())
    queues = {}
    for each in settings.queues:
        async with access.opened_queue(settings, each.name) as queue:
            queues[each.name] = DepthView.model_validate(await queue.depth()).model_dump()
    return {"transfers": counts, "dead_letters": letters, "queues": queues}


def _service(settings: Settings) -> Mapping[str, Any] | None:
    try:
        answer = client.get(f"http://{settings.server.listen}", "/v1/status", settings.server, PATIENCE)
    except SkyferryError:
        return None  # none, or not ours: both are an answer to the question
    return answer if isinstance(answer, dict) else None


def _show(document: Mapping[str, Any]) -> None:
    service = document["service"]
    output.lines(f"service    {_living(service)}" if service else "service    none answers")
    transfers = ", ".join(f"{number:,} {state}" for state, number in document["transfers"].items() if number)
    output.lines(f"transfers  {transfers or 'none yet'}")
    for name, depth in document["queues"].items():
        output.lines(f"queue      {name}: {_full(depth)}")
    letters = document["dead_letters"]
    output.lines(
        f"given up   {output.count(letters, 'dead letter')}" + (": skyferry dead-letters list" if letters else "")
    )


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
