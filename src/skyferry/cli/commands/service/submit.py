"""`skyferry submit`: events from the command line, a file or a pipe, into the queue."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skyferry.cli import client, resources
from skyferry.cli.arguments.options import ConfigFile, Json, Url, Workspace
from skyferry.cli.render import output
from skyferry.errors import EventError, SkyferryError
from skyferry.model import Priority

if TYPE_CHECKING:
    from skyferry.cli.arguments.event_bodies import Spool
    from skyferry.config.settings import Settings
    from skyferry.model import ObjectEvent, ObjectRef
    from skyferry.server.models import Submissions

QUEUED, POSTED = 1000, 500  # events sent at once, at most: into a queue, to a service
SIZE = 2**18  # bytes sent at once, about
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

    The same event may be submitted again: what is done stays done. All events are looked at before the first is taken: if one is
    not valid, none is taken, and its line is named. From then on they are taken in batches; should the queue fail between two,
    the error says how many were taken. Any number of events needs the same memory; more than 4 MiB of them go through a temporary
    file.

    JSON: as `POST /v1/events` answers; of a failure, what was taken before it.
    """
    if (objects is None) == (file is None):
        raise typer.BadParameter("give objects or --file, one of the two")
    from skyferry.cli.arguments.event_bodies import Spool

    events = [_event(text, destination, deleted, priority, max_retries) for text in objects or ()]
    settings = resources.load_settings(config, workspace)
    with closing(Spool()) as spool:
        _look_at(_bodies(file) if file else _encoded(events), settings, spool, remote=bool(url))
        _send(settings, spool, url, _Printer(json))


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


def _encoded(events: Sequence[ObjectEvent]) -> Iterator[tuple[str, bytes]]:
    from skyferry.events.native import encode_event

    return (("", encode_event(event)) for event in events)


def _bodies(file: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the place of each event, and its body. Raises EventError."""
    from skyferry.cli.arguments.event_bodies import read_bodies

    try:
        with closing(sys.stdin.buffer if str(file) == "-" else file.open("rb")) as stream:
            yield from read_bodies(stream)
    except OSError as error:
        raise EventError(f"cannot be read: {error.strerror}", where=str(file)) from error


def _look_at(bodies: Iterable[tuple[str, bytes]], settings: Settings, spool: Spool, *, remote: bool) -> None:
    """Keep all of them aside. Raises EventError for the first that is none, with where it stands."""
    from skyferry.engine.consume.intake import EventReader
    from skyferry.events import native
    from skyferry.routing.routes import Routes

    reader = EventReader(Routes(settings))
    for where, body in bodies:
        try:
            if remote:
                native.parse_event(body)  # which routes take it is the service's to say
            else:
                for event in reader.parse(body, {}).events:
                    reader.match(event)
        except EventError as error:
            place = ": ".join(part for part in (where, error.where) if part)
            raise type(error)(f"{error.message}; no event was taken", where=place, hint=error.hint) from error
        spool.add(body)


def _send(settings: Settings, spool: Spool, url: str, printer: _Printer) -> None:
    taken = 0
    try:
        with closing(printer):
            for answers in _posted(settings, spool, url) if url else _queued(settings, spool):
                taken += len(answers.events)
                printer.add(answers)
    except SkyferryError as error:
        if not taken:
            raise
        told = f"{error.message}; {taken:,} of {spool.count:,} events were taken before"
        hint = "submit all of them again: what was taken is not copied twice"
        raise type(error)(told, where=error.where, hint=hint) from error


def _posted(settings: Settings, spool: Spool, url: str) -> Iterator[Submissions]:
    for batch in spool.batches(POSTED, SIZE):
        yield client.submit(url, batch, settings.server, settings.workspace)


def _queued(settings: Settings, spool: Spool) -> Iterator[Submissions]:
    """One event loop for all of them, which runs while a batch is sent."""
    from skyferry.engine.consume.intake import EventReader
    from skyferry.engine.submission import submit_events
    from skyferry.routing.routes import Routes
    from skyferry.server.models import Submissions

    reader = EventReader(Routes(settings))
    with asyncio.Runner() as runner:
        opened = resources.opened_queue(settings)
        queue = runner.run(opened.__aenter__())
        try:
            for batch in spool.batches(QUEUED, SIZE):
                yield Submissions.from_results(runner.run(submit_events(reader, queue, batch)))
        finally:
            runner.run(opened.__aexit__(None, None, None))


class _Printer:
    """Prints what was taken as it is taken; the JSON is one document whatever happens on the way."""

    def __init__(self, json: bool) -> None:
        self._json, self._count = json, 0

    def add(self, taken: Submissions) -> None:
        """More was taken."""
        for event in taken.events:
            if self._json:
                sys.stdout.write(("," if self._count else '{"events":[') + event.model_dump_json())
            else:
                output.lines(f"event {event.event_id}" + (": no route takes it" if event.unrouted else ""))
                output.lines(*(f"  transfer {transfer_id}" for transfer_id in event.transfer_ids))
            self._count += 1

    def close(self) -> None:
        """End the document."""
        if self._json:
            sys.stdout.write("]}\n" if self._count else '{"events":[]}\n')
