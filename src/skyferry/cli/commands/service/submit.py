"""`skyferry submit`: put events from the command line, a file or a pipe into the queue."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click

from skyferry.cli import client, resources
from skyferry.cli.arguments.options import ConfigFile, Json, Url, Workspace
from skyferry.cli.parameters import Argument, Option
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


def submit(
    objects: Annotated[
        list[str] | None,
        Argument(metavar="PROVIDER://BUCKET/KEY", help="Objects, such as file://source/a.txt."),
    ] = None,
    file: Annotated[
        Path | None,
        Option(
            "--file", metavar="FILE", help="Events as JSON: an object, an array, or one per line; - is standard input."
        ),
    ] = None,
    destination: Annotated[
        str, Option(metavar="PROVIDER://BUCKET/KEY", help="The destination, instead of that of the routes.")
    ] = "",
    deleted: Annotated[bool, Option("--deleted", help="The objects were deleted, not created.")] = False,
    priority: Annotated[
        Priority | None, Option(metavar="|".join(Priority), help="By default that of the route.")
    ] = None,
    max_retries: Annotated[
        int | None, Option(metavar="N", min=0, max=10, help="The maximum number of retries.")
    ] = None,
    url: Url = "",
    config: ConfigFile = None,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Put events into the queue, durably. A service processes them, now or when it starts.

    An event may be submitted again; it is not copied twice. All events are checked first: if one is invalid, none is
    submitted, and the error names its line. Then they are submitted in batches; if the queue fails between two batches, the
    error reports how many were submitted. Memory does not grow with the number of events; more than 4 MiB are buffered in a
    temporary file.

    JSON: as in `POST /v1/events`; after a failure, the events submitted before it.
    """
    if (objects is None) == (file is None):
        raise click.BadParameter("give either objects or --file")
    from skyferry.cli.arguments.event_bodies import Spool

    events = [_build_event(text, destination, deleted, priority, max_retries) for text in objects or ()]
    settings = resources.load_settings(config, workspace)
    with closing(Spool()) as spool:
        _check_events(_read_bodies(file) if file else _encode_events(events), settings, spool, remote=bool(url))
        _send(settings, spool, url, _Printer(json))


def _build_event(
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
        source=_parse_object(text),
        destination=_parse_object(destination) if destination else None,
        occurred_at=time.time(),
        priority=priority,
        max_retries=max_retries,
    )


def _parse_object(text: str) -> ObjectRef:
    from skyferry.config.urls import StoreUrl
    from skyferry.model import ObjectRef, Provider

    scheme, _, rest = text.partition("://")
    bucket, _, key = rest.partition("/")
    row = StoreUrl.schemes.get(scheme)
    name = row.providers[0] if row else scheme
    known = dict.fromkeys([*StoreUrl.schemes, *Provider])
    if name not in list(Provider) or not bucket or not key:
        raise click.BadParameter(f"{text!r} is not PROVIDER://BUCKET/KEY with a provider of {', '.join(known)}")
    return ObjectRef(Provider(name), bucket, key)


def _encode_events(events: Sequence[ObjectEvent]) -> Iterator[tuple[str, bytes]]:
    from skyferry.events.native_encoding import encode_event

    return (("", encode_event(event)) for event in events)


def _read_bodies(file: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the position and the body of each event. Raises EventError."""
    from skyferry.cli.arguments.event_bodies import read_bodies

    try:
        with closing(sys.stdin.buffer if str(file) == "-" else file.open("rb")) as stream:
            yield from read_bodies(stream)
    except OSError as error:
        raise EventError(f"the file cannot be read: {error.strerror}", where=str(file)) from error


def _check_events(bodies: Iterable[tuple[str, bytes]], settings: Settings, spool: Spool, *, remote: bool) -> None:
    """Check all events, and buffer them. Raises EventError for the first invalid one, with its position."""
    from skyferry.engine.consume.intake import EventReader
    from skyferry.events import native
    from skyferry.routing.routes import Routes

    reader = EventReader(Routes(settings))
    for where, body in bodies:
        try:
            if remote:
                native.parse_event(body)  # the service matches the routes
            else:
                for event in reader.parse(body, {}).events:
                    reader.match(event)
        except EventError as error:
            place = ": ".join(part for part in (where, error.where) if part)
            raise type(error)(f"{error.message}; no event was submitted", where=place, hint=error.hint) from error
        spool.add(body)


def _send(settings: Settings, spool: Spool, url: str, printer: _Printer) -> None:
    taken = 0
    try:
        with closing(printer):
            for answers in _post_batches(settings, spool, url) if url else _queue_batches(settings, spool):
                taken += len(answers.events)
                printer.add(answers)
    except SkyferryError as error:
        if not taken:
            raise
        message = f"{error.message}; {taken:,} of {spool.count:,} events were submitted before"
        hint = "submit all of them again; no event is copied twice"
        raise type(error)(message, where=error.where, hint=hint) from error


def _post_batches(settings: Settings, spool: Spool, url: str) -> Iterator[Submissions]:
    for batch in spool.batches(POSTED, SIZE):
        yield client.submit_events(url, batch, settings.server, settings.workspace)


def _queue_batches(settings: Settings, spool: Spool) -> Iterator[Submissions]:
    """Send all batches in one event loop, which runs only while a batch is sent."""
    from skyferry.engine.consume.intake import EventReader
    from skyferry.engine.submission import submit_events
    from skyferry.routing.routes import Routes
    from skyferry.server.models import Submissions

    reader = EventReader(Routes(settings))
    with asyncio.Runner() as runner:
        opened = resources.open_queue(settings)
        queue = runner.run(opened.__aenter__())
        try:
            for batch in spool.batches(QUEUED, SIZE):
                yield Submissions.from_results(runner.run(submit_events(reader, queue, batch)))
        finally:
            runner.run(opened.__aexit__(None, None, None))


class _Printer:
    """Prints submitted events at once. The JSON is a complete document even after a failure."""

    def __init__(self, json: bool) -> None:
        self._json, self._count = json, 0

    def add(self, taken: Submissions) -> None:
        """Print a submitted batch."""
        for event in taken.events:
            if self._json:
                sys.stdout.write(("," if self._count else '{"events":[') + event.model_dump_json())
            else:
                output.print_lines(f"event {event.event_id}" + (": no route matches" if event.unrouted else ""))
                output.print_lines(*(f"  transfer {transfer_id}" for transfer_id in event.transfer_ids))
            self._count += 1

    def close(self) -> None:
        """Complete the JSON document."""
        if self._json:
            sys.stdout.write("]}\n" if self._count else '{"events":[]}\n')
