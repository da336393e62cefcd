"""Logs: one line per record, JSON for machines or text for people.

Keys are the names of `Record`'s fields; empty fields are omitted. No value can break its line or add another.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from operator import attrgetter
from typing import BinaryIO, Literal

import orjson

from skyferry.records import EVENTS, Record

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "json", "text"]

RANK: dict[str, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
DEFAULT: Level = "debug"  # of frequent events, which LEVELS does not list
LEVELS: dict[str, Level] = {
    "service.started": "info",
    "ledger.opened": "info",
    "service.draining": "info",
    "service.stopped": "info",
    "process.started": "info",
    "process.ended": "warning",
    "role.taken": "info",
    "role.lost": "warning",
    "check.changed": "warning",
    "store.identified": "info",
    "store.region_unknown": "warning",
    "server.unsafe": "warning",
    "route.metadata_lost": "info",
    "queue.failed": "warning",
    "health.failing": "error",
    "health.restored": "info",
    "message.test": "info",
    "message.dead": "error",
    "event.unrouted": "info",
    "event.unknown_bucket": "warning",
    "transfer.done": "info",
    "transfer.skipped": "info",
    "transfer.retry": "warning",
    "transfer.dead": "error",
    "transfer.released": "info",
    "transfer.lease_lost": "warning",
    "transfer.message_lost": "warning",
    "dead_letter.published": "info",
    "dead_letter.publish_failed": "warning",
    "dead_letter.returned": "info",
    "dead_letter.foreign": "warning",
    "store.disordered": "info",
    "breaker.changed": "warning",
    "shared_limits.fallback": "warning",
    "shared_limits.restored": "info",
    "identity.failed": "warning",
    "watch.failed": "warning",
    "deletes.held": "warning",
    "deletes.back": "info",
    "deletes.approved": "info",
    "store.special_file": "warning",
    "watch.unreadable": "warning",
}

NAMES = tuple(f.name for f in fields(Record))
_values = attrgetter(*NAMES)

# Characters that JSON does not escape, but that end a line for some readers or reverse text on a terminal.
_UNSAFE = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_SECRET = re.compile(
    r"""(?ix) ( \b(?:authorization|x-amz-security-token)\b ["']? \s* [:=] \s* ["']? (?:(?:bearer|basic)\s+)?
              | \bbearer\s+
              | (?:^|[?&;,\s"'({\[]) (?:sig|x-amz-signature|x-goog-signature|x-amz-credential|x-amz-security-token|token
                            |access_token|api_?key|password|passwd|secret|accountkey|sharedaccesskey) ["']? \s* [=:] \s*
              | ://[^/\s:@]*: (?=[^/\s@]+@)
              ) ["']? [^\s"'&;,@]+"""
)
_PLAIN = re.compile(r"[^\s\"=\\]+")
_COLOURS = {n: (f"\x1b[{c}m", "\x1b[0m") for n, c in {"debug": 2, "info": 32, "warning": 33, "error": 31}.items()}
_HIDDEN = frozenset({"correlation_id", "event_id", "transfer_id", "traceparent"})  # omitted in text, not in JSON


def mask_credentials(text: str) -> str:
    """Replace whatever looks like credentials: passwords in URLs, signatures, bearer tokens, keys."""
    return _SECRET.sub(r"\1***", text)


def encode_json(value: object) -> str:
    """Encode JSON in one line, whatever the strings contain. Lone surrogates (unreadable file names) are escaped."""
    try:
        line = orjson.dumps(value, default=str, option=orjson.OPT_UTC_Z).decode()
    except TypeError:
        line = orjson.dumps(_plain(value), default=str, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS).decode()
    return line if line.isascii() and "\x7f" not in line else _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", line)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, datetime | float) or (isinstance(value, int) and abs(value) < 2**63):
        return value
    return str(value).encode("utf-8", "backslashreplace").decode()


class LogObserver:
    """Writes one line per record at or above `level`, unbuffered, to a binary stream such as `sys.stderr.buffer`.

    `auto` is text on a terminal and JSON elsewhere. Colours are used on a terminal only. If the stream cannot be written to,
    lines are lost and transfers go on; `lost` counts these lines.
    """

    def __init__(
        self,
        stream: BinaryIO,
        format: Format = "auto",
        level: Level = "info",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.level = level
        self.lost = 0
        terminal = stream.isatty()
        self._write, self._flush, self._clock = stream.write, stream.flush, clock
        self._render = self._text if format == "text" or (format == "auto" and terminal) else _json
        self._colours = _COLOURS if terminal else {}
        self._muted = frozenset(e for e in EVENTS if RANK[LEVELS.get(e, DEFAULT)] < RANK[level])

    def on(self, record: Record) -> None:
        """Write one record."""
        event = record.event
        if event in self._muted:
            return
        found = {name: value for name, value in zip(NAMES, _values(record), strict=True) if value or value == 0}
        for name in ("message", "hint"):
            if name in found:
                found[name] = mask_credentials(found[name])
        del found["event"]
        self.write(event, LEVELS.get(event, DEFAULT), found)

    def write(self, event: str, level: Level, values: Mapping[str, object]) -> None:
        """Write one line. Thread-safe where the stream's `write` is."""
        line = self._render(datetime.fromtimestamp(self._clock(), UTC), level, event, values)
        try:
            self._write(line)
            self._flush()
        except (OSError, ValueError):  # the reader is gone, or the stream is closed
            self.lost += 1

    def _text(self, at: datetime, level: Level, event: str, values: Mapping[str, object]) -> bytes:
        colour, plain = self._colours.get(level, ("", ""))
        hidden = _HIDDEN if RANK[level] < RANK["warning"] else _HIDDEN - {"transfer_id"}  # the id for a redrive
        shown = " ".join(_field(n, values[n]) for n in sorted(values, key=_key_first) if n not in hidden)
        head = f"{at.astimezone():%H:%M:%S}.{at.microsecond // 1000:03d} {colour}{level:<7} {event:<18}{plain}"
        return f"{head} {shown}".rstrip().encode() + b"\n"


def _json(at: datetime, level: Level, event: str, values: Mapping[str, object]) -> bytes:
    return encode_json({"time": at, "level": level, "event": event, **values}).encode() + b"\n"


def _key_first(name: str) -> bool:
    return name != "key"


def _field(name: str, value: object) -> str:
    if isinstance(value, float):
        return f"{name}={value:.3f}s"
    text = encode_json(value)
    plain = isinstance(value, str) and _PLAIN.fullmatch(text[1:-1])
    return f"{name}={text[1:-1] if plain else text}"
