"""The parsers' result, and typed access to foreign JSON with errors that name the field."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

import orjson

from skyferry.errors import EventError, InvalidKey, UnknownFormat
from skyferry.frozen import dataclass
from skyferry.model import ObjectEvent, Position
from skyferry.regex import compile_lazily

MAX_BODY = 1024 * 1024  # bytes; a notification has about one KiB, and SQS accepts at most this
MAX_ITEMS = 10_000  # of one list; S3 sends one record, Event Grid 5,000 events at most
MAX_KEY = 1024  # bytes of UTF-8
MAX_FAULTY = 100  # faulty records of one message that are reported one by one
MAX_SIZE = 2**63 - 1  # bytes
TIMESTAMP = (  # RFC 3339; the calendar (30 February) is checked when it is read
    r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)"
    r"(\.[0-9]{1,9})?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
UUID = r"^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"

BUCKET = r"^[^\x00-\x1f/\x7f]+$"

_TIMESTAMP, _UUID = compile_lazily(TIMESTAMP), compile_lazily(UUID)
_BUCKET = compile_lazily(r"[^\x00-\x1f/\x7f\ud800-\udfff]{1,255}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = ((datetime(year, 1, 1, tzinfo=UTC) - _EPOCH).total_seconds() for year in (2, 9999))
_NAMESPACE = uuid.UUID("9a7c3c5e-2a52-5d7f-8f5e-6a1d2f6f9b10")  # of derived event ids; never change it


@dataclass(frozen=True, slots=True)
class Delivery:
    """The message that brought a notification, for services whose notification has no time."""

    id: str = ""  # the same in each delivery of the message; "" = unknown
    sent_at: float = 0.0  # seconds since 1970


UNKNOWN_DELIVERY = Delivery()


@dataclass(frozen=True, slots=True)
class Piece:
    """Some records of a message, which can be sent as a separate message."""

    records: tuple[object, ...]  # JSON values
    member: str = ""  # name of the array in its object; "" = the message is the array

    def body(self) -> bytes:
        """Return the separate message, or b"" if it is nested too deeply to be written."""
        try:
            return orjson.dumps({self.member: self.records} if self.member else self.records)
        except TypeError:
            return b""


@dataclass(frozen=True, slots=True)
class Faulty:
    """Records that cannot be read in a message that has readable ones too."""

    error: EventError
    piece: Piece


@dataclass(frozen=True, slots=True)
class Parsed:
    """The content of one message."""

    events: tuple[ObjectEvent, ...] = ()
    test: bool = False  # a provider's test message: acknowledge and count it
    ignored: tuple[str, ...] = ()  # the provider's names of notifications that do not concern content
    faulty: tuple[Faulty, ...] = ()  # unreadable records, if a message has several
    pieces: tuple[Piece, ...] = ()  # one per event, if a message has several records


def parse_records(values: object, path: str, parse: Callable[[Fields], Parsed], member: str = "") -> Parsed:
    """Parse each record of a list. Raises EventError if the list is empty or none of its records can be read."""
    if not isinstance(values, list) or not values:
        raise EventError("must be an array of at least one object", where=path)
    if len(values) > MAX_ITEMS:
        raise EventError(f"has {len(values):,} items", where=path, hint=f"send at most {MAX_ITEMS:,}")
    if len(values) == 1:
        return parse(as_fields(values[0], f"{path}[0]"))
    read: list[tuple[object, Parsed]] = []
    bad: list[object] = []
    errors: list[EventError] = []  # of the first of these
    for index, value in enumerate(values):
        try:
            read.append((value, parse(as_fields(value, f"{path}[{index}]"))))
        except EventError as error:
            bad.append(value)
            errors += [error] if len(errors) < MAX_FAULTY else []
    if not read:
        raise errors[0]
    return Parsed(
        events=tuple(event for _, part in read for event in part.events),
        test=any(part.test for _, part in read),
        ignored=tuple(name for _, part in read for name in part.ignored),
        faulty=tuple(_faulty(bad, errors, member)),
        pieces=tuple(Piece((value,), member) for value, part in read for _ in part.events),
    )


def _faulty(bad: Sequence[object], errors: Sequence[EventError], member: str) -> Iterator[Faulty]:
    """Yield the records one by one. Beyond MAX_FAULTY, the last one has all remaining records."""
    alone = len(bad) if len(bad) <= MAX_FAULTY else MAX_FAULTY - 1
    yield from (Faulty(error, Piece((value,), member)) for value, error in zip(bad[:alone], errors, strict=False))
    if rest := tuple(bad[alone:]):
        error = errors[alone]
        many = f"{error.message}; {len(rest):,} records of one message cannot be read, this is the first"
        yield Faulty(type(error)(many, where=error.where, hint=error.hint), Piece(rest, member))


@dataclass(frozen=True, slots=True)
class Fields:
    """An untrusted JSON object. null counts as absent. Faults raise EventError with the field's path."""

    raw: Mapping[str, object]
    path: str = ""

    def __contains__(self, name: str) -> bool:
        return self.raw.get(name) is not None

    def at(self, name: str) -> str:
        """Return the path of a field."""
        return f"{self.path}.{name}" if self.path else name

    def child(self, name: str) -> Fields:
        """Return a required object."""
        return as_fields(self._required(name), self.at(name))

    def text(self, name: str) -> str:
        """Return a required string, which must not be empty."""
        value = self.optional(name)
        if not value:
            raise EventError("is required and must not be empty", where=self.at(name))
        return value

    def optional(self, name: str) -> str:
        """Return a string, or "" if it is absent."""
        value = self.raw.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise EventError(f"must be a string, not {json_type(value)}", where=self.at(name))
        return value

    def whole(self, name: str) -> int | None:
        """Return a whole number from 0 to 2^63 - 1, which may be written as a string, or None."""
        value = self.raw.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_SIZE:
            raise EventError("must be a whole number from 0 to 2^63 - 1", where=self.at(name))
        return value

    def key(self, name: str) -> str:
        """Return a required object key."""
        return validate_key(self.text(name), self.at(name))

    def bucket(self, name: str) -> str:
        """Return a required bucket name."""
        return validate_bucket(self.text(name), self.at(name))

    def time(self, name: str) -> float:
        """Return a required RFC 3339 timestamp as seconds since 1970."""
        text = self.text(name)
        if not _TIMESTAMP.fullmatch(text):
            raise EventError(
                "must be an RFC 3339 timestamp", where=self.at(name), hint="such as 2026-01-31T12:00:00.5Z"
            )
        return parse_timestamp(text, self.at(name))

    def major(self, name: str, *accepted: str) -> None:
        """Raise UnknownFormat unless the version has one of these major numbers. Minor versions only add fields."""
        version = self.text(name)
        if version.partition(".")[0] not in accepted:
            raise UnknownFormat(
                f"version {version[:20]!r} is not supported",
                where=self.at(name),
                hint=f"send version {accepted[-1]}.x, or upgrade Skyferry",
            )

    def _required(self, name: str) -> object:
        if name not in self:
            raise EventError("is required", where=self.at(name))
        return self.raw[name]


def json_type(value: object) -> str:
    """Return the JSON type of a value, with its article."""
    names = {
        bool: "a boolean",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "an array",
        dict: "an object",
    }
    return names.get(type(value), "null")


def as_fields(value: object, path: str) -> Fields:
    """Return the object at this path."""
    if not isinstance(value, dict):
        raise EventError(f"must be an object, not {json_type(value)}", where=path)
    return Fields(value, path)


def load_json(body: bytes) -> object:
    """Decode JSON. Raises UnknownFormat if it is malformed."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        hint = "docs/reference/events.md lists the formats"
        raise UnknownFormat(f"the message is not JSON: {error}", hint=hint) from error


def validate_key(key: str, where: str) -> str:
    """Return the key. Raises InvalidKey unless it has 1 to 1,024 bytes of UTF-8 without NUL."""
    try:
        length = len(key) if key.isascii() else len(key.encode())
    except UnicodeEncodeError as error:
        raise InvalidKey("is not valid Unicode: it has half of a surrogate pair", where=where) from error
    if not 0 < length <= MAX_KEY:
        raise InvalidKey(f"must be 1 to 1,024 bytes of UTF-8, and is {length:,}", where=where)
    if "\0" in key:
        raise InvalidKey("contains a NUL character", where=where)
    return key


def validate_bucket(bucket: str, where: str) -> str:
    """Return the bucket name. Raises EventError unless it has 1 to 255 characters, none a control, `/` or surrogate."""
    if not _BUCKET.fullmatch(bucket):
        raise EventError("is not a bucket name", where=where)
    return bucket


def parse_timestamp(text: str, where: str) -> float:
    """Convert a text in the shape of `TIMESTAMP` to seconds since 1970.

    Raises EventError if the calendar has no such time, or if it is in the first or last year of the calendar, where some time
    zones have no date for it.
    """
    leap = text[17:19] == "60"
    if leap:
        text = f"{text[:17]}59{text[19:]}"
    try:
        found = (datetime.fromisoformat(text.upper()) - _EPOCH).total_seconds() + leap
    except (ValueError, OverflowError) as error:
        raise EventError("is not a time that the calendar has", where=where) from error
    if not _FIRST <= found < _LAST:
        raise EventError("is not a time of the years 2 to 9998", where=where)
    return found


def derive_id(*stable: str | int | None) -> str:
    """Derive an event id from fields that repeat in duplicate deliveries, so that these are recognised."""
    return str(uuid.uuid5(_NAMESPACE, json.dumps(stable)))


def normalise_id(text: str, *context: str) -> str:
    """Return the provider's id if it is a UUID. Otherwise derive one from it and the context that makes it unique."""
    return text.lower() if _UUID.fullmatch(text) else derive_id(text, *context)


def parse_sequencer(text: str) -> Position | None:
    """Return an S3 sequencer as a position: upper case, left-padded with zeros, so that strings compare as Amazon defines.

    Return None if it is not a hexadecimal number, or is a constant that emulators repeat in every event.
    """
    return None if text.upper() in _CONSTANTS or not _HEX.fullmatch(text) else Position.sequencer(text)


# LocalStack sends these examples of Amazon's documentation with every event. As positions, they would make each later
# change of a key look settled.
_CONSTANTS = frozenset({"0055AED6DCD90281E5", "0062E99A88DC407460"})
_HEX = compile_lazily(r"[0-9A-Fa-f]{1,64}")
