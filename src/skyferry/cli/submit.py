"""`skyferry submit`: events from the command line, a file or a pipe, into the queue."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skyferry.cli import access, client, output
from skyferry.cli.options import ConfigFile, Json, Url, Workspace
from skyferry.errors import EventError
from skyferry.model import Priority

if TYPE_CHECKING:
    from skyferry.config.settings import Settings
    from skyferry.model import ObjectEvent, ObjectRef
    from skyferry.server.models import Submissions

SCHEMES = {"s3": "aws_s3", "gs": "gcp_gcs", "az": "azure_blob"}  # short for providers; the rest are called as in events


def submit(
    objects: Annotated[
        list[str] | None,
        typer.Argument(metavar="PROVIDER://BUCKET/KEY", help="Look at these, e.g. file://source/a.txt."),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file", metavar="FILE", help="Events as JSON: one, an array, or one a line; - is standard input."
        ),
    ] = None,
    destination: Annotated[
        str, typer.Option(metavar="PROVIDER://BUCKET/KEY", help="Where to, instead of where the routes say.")
    ] = "",
    deleted: Annotated[bool, typer.Option("--deleted", help="They were deleted, not created.")] = False,
    priority: Annotated[
        Priority | None, typer.Option(metavar="|".join(Priority), help="The route's by default.")
    ] = None,
    max_retries: Annotated[
        int | None, typer.Option(metavar="N", min=0, max=10, help="Attempts after the first.")
    ] = None,
    url: Url = "",
    config: ConfigFile = None,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Put events into the queue, durably; a service handles them, now or when it starts.

    The same event may be submitted again: what is done stays done. If one event is not valid, none is taken.

    JSON: as `POST /v1/events` answers.
    """
    if (objects is None) == (file is None):
        raise typer.BadParameter("give objects or --file, one of the two")
    events = [_event(text, destination, deleted, priority, max_retries) for text in objects or ()]
    from skyferry.events.native import encode

    bodies = _bodies(file) if file else [encode(event) for event in events]
    settings = access.load_settings(config, workspace)
    taken = client.submit(url, bodies, settings.server) if url else asyncio.run(_send(settings, bodies))
    _tell(taken, json)


def _event(
    text: str, destination: str, deleted: bool, priority: Priority | None, max_retries: int | None
) -> ObjectEvent:
    import time
    import uuid

    from skyferry.model import Change, ObjectEvent

    event_id = str(uuid.uuid4())
    return ObjectEvent(
        event_id=event_id,
        correlation_id=event_id,
        change=Change.DELETED if deleted else Change.CREATED,
        source=_ref(text),
        destination=_ref(destination) if destination else None,
        occurred_at=time.time(),
        priority=priority,
        max_retries=max_retries,
    )


def _ref(text: str) -> ObjectRef:
    from skyferry.model import ObjectRef, Provider

    scheme, _, rest = text.partition("://")
    bucket, _, key = rest.partition("/")
    name = SCHEMES.get(scheme, scheme)
    known = [*SCHEMES, *Provider]
    if name not in list(Provider) or not bucket or not key:
        raise typer.BadParameter(f"{text!r} is not PROVIDER://BUCKET/KEY with a provider of {', '.join(known)}")
    return ObjectRef(Provider(name), bucket, key)


def _bodies(file: Path) -> list[bytes]:
    """One body per event: a JSON object or array, or a line each. Raises EventError."""
    import orjson

    try:
        text = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise EventError(f"cannot be read: {error.strerror}", where=str(file)) from error
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return [line for line in text.splitlines() if line.strip()]
    return [orjson.dumps(item) for item in value] if isinstance(value, list) else [text]


async def _send(settings: Settings, bodies: Sequence[bytes]) -> Submissions:
    from skyferry.config.routes import Routes
    from skyferry.engine.submission import take
    from skyferry.server.models import Submissions
    from skyferry.wiring import Reader

    async with access.opened_queue(settings) as queue:
        return Submissions.of(await take(Reader(Routes(settings)), queue, bodies))


def _tell(taken: Submissions, json: bool) -> None:
    if json:
        output.emit_model(taken)
        return
    for event in taken.events:
        output.lines(f"event {event.event_id}" + (": no route takes it" if event.unrouted else ""))
        output.lines(*(f"  transfer {transfer_id}" for transfer_id in event.transfer_ids))
