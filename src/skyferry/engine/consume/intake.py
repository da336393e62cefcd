"""Turn messages into work: their events become transfers, dead letters or recorded refusals."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import field, replace

from skyferry.engine.consume.in_flight import LeasedMessage
from skyferry.engine.telemetry import Reporter
from skyferry.errors import EventError, InternalError, NoRoute, SkyferryError, UnroutedBucket
from skyferry.events.fields import UNKNOWN_DELIVERY, Delivery, Parsed
from skyferry.frozen import dataclass
from skyferry.model import ObjectEvent, Transfer
from skyferry.ports import Clock, DeadLetter, Outcome, Refusal, letter_attributes
from skyferry.routing.routes import Routes
from skyferry.routing.rules import UnroutedEvent

BUG = "report it with this message; after an update, redrive the letter"
LONGEST = 300.0  # seconds for which a message is released to another deployment or region


class EventReader:
    """Parses messages and matches their events with the routes. Pure."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes

    def parse(self, body: bytes, attributes: Mapping[str, str], delivery: Delivery = UNKNOWN_DELIVERY) -> Parsed:
        """Parse the events of a message. Raises EventError."""
        from skyferry.events.detect import parse_message  # all formats: `copy` needs none of them

        return parse_message(body, attributes, delivery)

    def match(self, event: ObjectEvent, queue: str = "") -> list[Transfer]:
        """Return the transfers that the routes make of an event. Raises EventError."""
        return self._routes.match(event, queue)

    def untaken(self, event: ObjectEvent, queue: str = "") -> UnroutedEvent:
        """Explain why `match` returned no transfer for an event."""
        return self._routes.untaken(event, queue)


@dataclass(slots=True)
class MessageContent:
    """The transfers, dead letters and refusals that one message leads to."""

    transfers: list[Transfer] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    release: float | None = None  # seconds until its redelivery: an event of it belongs to another deployment or region
    forced_outcomes: dict[str, Outcome] = field(
        default_factory=dict
    )  # of transfers that the routes do not make any more, by id


class Intake:
    """Reads messages. Nothing is dropped: an event without a transfer is in the result, or counted."""

    def __init__(self, reader: EventReader, tell: Reporter, clock: Clock, unknown: Mapping[str, str]) -> None:
        """`unknown` maps the names of queues to their `unknown_buckets`; the default is keep."""
        self._reader, self._reporter, self._clock, self._unknown = reader, tell, clock, unknown

    def parse(self, leased: LeasedMessage) -> Parsed | SkyferryError:
        """Return the events of a message, or the error that makes it a dead letter.

        Raises nothing: a bug that one message triggers must not stop the others.
        """
        message = leased.message
        if message.event is not None:
            return Parsed((message.event,))
        try:
            attributes = dict(letter_attributes.strip_own(message.attributes))
            return self._reader.parse(message.body, attributes, Delivery(message.id, message.enqueued_at))
        except EventError as error:
            return error
        except Exception as problem:  # noqa: BLE001 - as above
            return _internal_error(problem)

    def read(self, leased: LeasedMessage, parsed: Parsed | SkyferryError | None = None) -> MessageContent:
        """Return everything in one message. `parsed` is the result of `parse`, if it is known. Raises nothing."""
        try:
            if (event := leased.message.event) is not None:
                found = MessageContent()
                self._event(leased, event, b"", found)
                return found
            outcome = self.parse(leased) if parsed is None else parsed
            if isinstance(outcome, Parsed):
                return self._read(leased, outcome)
        except Exception as problem:  # noqa: BLE001 - as in `parse`
            outcome = _internal_error(problem)
        return MessageContent(letters=[self._unreadable(leased, outcome, leased.body, _message_id(leased))])

    def _read(self, leased: LeasedMessage, parsed: Parsed) -> MessageContent:
        found = MessageContent()
        if parsed.test:
            self._reporter.report_test_message(leased.queue.name)
        for name in parsed.ignored:
            self._reporter.report_ignored(leased.queue.name, name)
        for number, faulty in enumerate(parsed.faulty):
            body = faulty.piece.body() or leased.body
            found.letters.append(self._unreadable(leased, faulty.error, body, _piece_id(leased, f"record {number}")))
        for index, event in enumerate(parsed.events):
            self._event(leased, event, parsed.pieces[index].body() if parsed.pieces else b"", found)
        return found

    def _event(self, leased: LeasedMessage, event: ObjectEvent, piece: bytes, found: MessageContent) -> None:
        """`piece` is a message with this event alone if the received message has more events; else b""."""
        if (created_at := leased.creation_times.get(event.event_id)) is not None:
            event = replace(event, created_at=created_at)
        try:
            transfers = self._reader.match(event, leased.origin)
        except EventError as error:
            name = _piece_id(leased, event.event_id) if piece else _message_id(leased)
            found.letters.append(self._unreadable(leased, error, piece or leased.body, name))
            return
        otherwise = {other.id: other for transfer in transfers for other in transfer.otherwise}
        if otherwise and (leased.both_readings or leased.letter in otherwise):
            transfers += otherwise.values()
        if transfers:
            self._reporter.report_event(leased.queue.name, event)
            found.transfers += [replace(t, asked=True) for t in transfers] if leased.asked else transfers
            return
        why = self._reader.untaken(event, leased.origin)
        if why.region:
            found.release = _release_delay(leased)
            self._reporter.report_other_region(leased.queue.name, event, why.region)
        elif why.known:
            self._refused(leased, event, why, piece, found)
        else:
            source = event.source
            named = f"{why.account}:{source.bucket}" if why.account else source.bucket
            self._foreign(leased, replace(event, source=replace(source, bucket=named)), why.hint, piece, found)

    def _refused(
        self, leased: LeasedMessage, event: ObjectEvent, why: UnroutedEvent, piece: bytes, found: MessageContent
    ) -> None:
        """Record a refusal. A redriven letter becomes a dead letter again, so that it is not lost."""
        rules = tuple((each.route, each.rule) for each in why.rules)
        self._reporter.report_event(leased.queue.name, event, "; ".join(map(str, why.rules)) or "there is no route")
        now = self._clock.time()
        found.refusals.append(Refusal(event.source, event.change, event.event_id, event.occurred_at, now, rules))
        if leased.letter:
            found.letters.append(self._letter(leased, event, no_route_error(why), piece, leased.letter))

    def _foreign(
        self, leased: LeasedMessage, event: ObjectEvent, hint: str, piece: bytes, found: MessageContent
    ) -> None:
        """`hint` is set if several stores may be the bucket of the event."""
        wanted = self._unknown.get(leased.origin, "keep")
        if wanted == "release" and not leased.letter:
            found.release = _release_delay(leased)
            self._reporter.report_unknown_bucket(leased.queue.name, event, "released")
        elif wanted == "ignore":
            self._reporter.report_unknown_bucket(leased.queue.name, event, "ignored")
        else:
            source = event.source
            error = UnroutedBucket(
                f"{'it is not known which store' if hint else 'no store of the configuration'} is "
                f"{source.provider}://{source.bucket}",
                hint=hint
                or "Correct the URL of the store that is meant, or add a store and a route; then redrive. "
                "If the bucket is another deployment's, see unknown_buckets.",
            )
            parts = ("unrouted", source.provider, source.bucket, source.key, event.change, event.event_id)
            found.letters.append(self._letter(leased, event, error, piece, _digest(*parts)))
            self._reporter.report_unknown_bucket(leased.queue.name, event, "kept")

    def _unreadable(self, leased: LeasedMessage, error: SkyferryError, body: bytes, name: str) -> DeadLetter:
        self._reporter.report_unreadable(leased.queue.name, error)
        return DeadLetter(
            id=name,
            at=self._clock.time(),
            queue=leased.origin,
            reason=error.kind,
            message=str(error),
            hint=error.hint,
            body=body,
            attributes=letter_attributes.keep_for_letter(leased.message.attributes),
        )

    def _letter(
        self, leased: LeasedMessage, event: ObjectEvent, error: EventError, piece: bytes, name: str
    ) -> DeadLetter:
        """Return the dead letter of an event that was parsed."""
        source = event.source
        return DeadLetter(
            id=name,
            at=self._clock.time(),
            queue=leased.origin,
            reason=error.kind,
            message=error.message,
            hint=error.hint,
            body=piece or leased.body,
            attributes=letter_attributes.keep_for_letter(leased.message.attributes),
            source=f"{source.provider}://{source.bucket}/{source.key}",
            event_id=event.event_id,
            correlation_id=event.correlation_id,
        )


def _release_delay(leased: LeasedMessage) -> float:
    return min(2.0**leased.message.attempt, LONGEST)


def no_route_error(why: UnroutedEvent | None = None) -> NoRoute:
    """Return the error of a redriven letter whose event no configured route takes."""
    rules = "; ".join(map(str, why.rules)) if why else ""
    return NoRoute(
        f"no route takes it: {rules}" if rules else "",
        hint="Add a route that takes it and redrive the letter again, or discard the letter.",
    )


def _internal_error(problem: Exception) -> InternalError:
    return InternalError(f"{type(problem).__name__}: {problem}", hint=BUG)


def _message_id(leased: LeasedMessage) -> str:
    """Return the id of its dead letter. A redriven message keeps the id of its letter."""
    return leased.letter or _digest(leased.queue.name, leased.message.id)


def _piece_id(leased: LeasedMessage, piece: str) -> str:
    return _digest(leased.queue.name, leased.message.id, piece)


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
