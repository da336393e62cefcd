"""What the parsers share: the result, and fields taken out of foreign JSON with errors that name them."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from skyferry.errors import EventError, InvalidKey, UnknownFormat
from skyferry.model import ObjectEvent, Position

MAX_BODY = 1024 * 1024  # bytes; a notification has about one KiB, and SQS takes no larger message
MAX_ITEMS = 10_000  # of one list; S3 sends one record, Event Grid 5,000 events at most
MAX_KEY = 1024  # bytes of UTF-8
MAX_FAULTY = 100  # records of one message that are told of one by one
MAX_SIZE = 2**63 - 1  # bytes
TIMESTAMP = (  # RFC 3339; the calendar (30 February) is checked when it is read
    r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)"
    r"(\.[0-9]{1,9})?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
UUID = r"^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"

BUCKET = r"^[^\x00-\x1f/\x7f]+$"

_TIMESTAMP, _UUID = re.compile(TIMESTAMP), re.compile(UUID)
_BUCKET = re.compile(r"[^\x00-\x1f/\x7f\ud800-\udfff]{1,255}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = ((datetime(year, 1, 1, tzinfo=UTC) - _EPOCH).total_seconds() for year in (2, 9999))
_NAMESPACE = uuid.UUID("9a7c3c5e-2a52-5d7f-8f5e-6a1d2f6f9b10")  # of the event ids that we derive; never change it


@dataclass(frozen=True, slots=True)
class Piece:
    """Some records of a message that has more, which can make a message of their own."""

    records: tuple[object, ...]  # JSON values
    member: str = ""  # of the object that has them; "" = they stand in an array

    def body(self) -> bytes:
        """That message; b"" if it cannot be written, because it is nested too deeply."""
        try:
            return orjson.dumps({self.member: self.records} if self.member else self.records)
        except TypeError:
            return b""


@dataclass(frozen=True, slots=True)
class Faulty:
    """Records of a message that cannot be read, beside others that can."""

    error: EventError
    piece: Piece


@dataclass(frozen=True, slots=True)
class Parsed:
    """All that one message says."""

    events: tuple[ObjectEvent, ...] = ()
    test: bool = False  # a provider's test message: ack and count it
    ignored: tuple[str, ...] = ()  # notifications that do not concern content, by the provider's name for them
    faulty: tuple[Faulty, ...] = ()  # where a message has several records, those that cannot be read
    pieces: tuple[Piece, ...] = ()  # one per event, where a message has several records


def parse_each(values: object, path: str, parse: Callable[[Fields], Parsed], member: str = "") -> Parsed:
    """A list of at least one record, each on its own. Raises EventError if none of them can be read."""
    if not isinstance(values, list) or not values:
        raise EventError("must be an array of at least one object", where=path)
    if len(values) > MAX_ITEMS:
        raise EventError(f"has {len(values):,} items", where=path, hint=f"at most {MAX_ITEMS:,} are read")
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
    """One by one; where there are very many, the last have one in common."""
    alone = len(bad) if len(bad) <= MAX_FAULTY else MAX_FAULTY - 1
    yield from (Faulty(error, Piece((value,), member)) for value, error in zip(bad[:alone], errors, strict=False))
    if rest := tuple(bad[alone:]):
        error = errors[alone]
        many = f"{error.message}; {len(rest):,} records of one message cannot be read, this is the first"
        yield Faulty(type(error)(many, where=error.where, hint=error.hint), Piece(rest, member))


@dataclass(frozen=True, slots=True)
class Fields:
    """A JSON object that somebody else wrote. null counts as absent. Every complaint is an EventError with the field's path."""

    raw: Mapping[str, object]
    path: str = ""

    def __contains__(self, name: str) -> bool:
        return self.raw.get(name) is not None

    def at(self, name: str) -> str:
        """The path of a field."""
        return f"{self.path}.{name}" if self.path else name

    def child(self, name: str) -> Fields:
        """A required object."""
        return as_fields(self._required(name), self.at(name))

    def text(self, name: str) -> str:
        """A required string, not empty."""
        value = self.optional(name)
        if not value:
            raise EventError("is required and must not be empty", where=self.at(name))
        return value

    def optional(self, name: str) -> str:
        """A string, or "" if there is none."""
        value = self.raw.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise EventError(f"must be a string, not {kind(value)}", where=self.at(name))
        return value

    def whole(self, name: str) -> int | None:
        """A whole number from 0 to 2^63 - 1, which may be written as a string."""
        value = self.raw.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_SIZE:
            raise EventError("must be a whole number from 0 to 2^63 - 1", where=self.at(name))
        return value

    def key(self, name: str) -> str:
        """A required object key."""
        return checked_key(self.text(name), self.at(name))

    def bucket(self, name: str) -> str:
        """A required bucket name."""
        return checked_bucket(self.text(name), self.at(name))

    def time(self, name: str) -> float:
        """A required RFC 3339 timestamp, as seconds since 1970."""
        text = self.text(name)
        if not _TIMESTAMP.fullmatch(text):
            raise EventError(
                "must be an RFC 3339 timestamp", where=self.at(name), hint="such as 2026-01-31T12:00:00.5Z"
            )
        return seconds(text, self.at(name))

    def major(self, name: str, accepted: str) -> None:
        """Refuse a version with another major number. Minor numbers only ever add fields."""
        version = self.text(name)
        if version.partition(".")[0] != accepted:
            raise UnknownFormat(
                f"version {version[:20]!r} is not one that is read here",
                where=self.at(name),
                hint=f"versions {accepted}.x are; a newer Skyferry may read it",
            )

    def _required(self, name: str) -> object:
        if name not in self:
            raise EventError("is required", where=self.at(name))
        return self.raw[name]


def kind(value: object) -> str:
    """What JSON calls the type of a value."""
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
    """An object at this path."""
    if not isinstance(value, dict):
        raise EventError(f"must be an object, not {kind(value)}", where=path)
    return Fields(value, path)


def load(body: bytes) -> object:
    """JSON. Raises UnknownFormat."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UnknownFormat(
            f"the message is not JSON: {error}", hint="docs/reference/events.md lists what is read"
        ) from error


def checked_key(key: str, where: str) -> str:
    """The key, if a store can hold it: 1 to 1,024 bytes of UTF-8 without NUL. Raises InvalidKey."""
    try:
        length = len(key) if key.isascii() else len(key.encode())
    except UnicodeEncodeError as error:
        raise InvalidKey("is not valid Unicode: it holds half of a surrogate pair", where=where) from error
    if not 0 < length <= MAX_KEY:
        raise InvalidKey(f"must be 1 to 1,024 bytes of UTF-8, and is {length:,}", where=where)
    if "\0" in key:
        raise InvalidKey("holds a NUL character", where=where)
    return key


def checked_bucket(bucket: str, where: str) -> str:
    """The bucket's name, if it can be one: 1 to 255 characters without control characters, `/` or surrogates."""
    if not _BUCKET.fullmatch(bucket):
        raise EventError("is not a bucket name", where=where)
    return bucket


def seconds(text: str, where: str) -> float:
    """Seconds since 1970 of a text that has the shape of `TIMESTAMP`.

    Raises EventError if the calendar has no such time, or it is so near to an end of it that some zone has no day for it.
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


def derived_id(*stable: str | int | None) -> str:
    """The same event id for the same fields, so that a duplicate delivery is seen to be one."""
    return str(uuid.uuid5(_NAMESPACE, json.dumps(stable)))


def given_id(text: str, *context: str) -> str:
    """The provider's own id where it is a UUID, else one derived from it and from what makes it unique."""
    return text.lower() if _UUID.fullmatch(text) else derived_id(text, *context)


def sequencer(text: str) -> Position | None:
    """An S3 sequencer as a position: upper case, left-padded with zeros, so that strings compare as Amazon says.

    None where it is no hexadecimal number, or one of the constants that emulators repeat in every event.
    """
    return None if text.upper() in _CONSTANTS or not _HEX.fullmatch(text) else Position.sequencer(text)


# The examples of Amazon's documentation, which LocalStack sends with every event: as positions they would make each
# later change of a key look settled.
_CONSTANTS = frozenset({"0055AED6DCD90281E5", "0062E99A88DC407460"})
_HEX = re.compile(r"[0-9A-Fa-f]{1,64}")
