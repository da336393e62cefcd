"""Names of destinations and texts as the scripts have them."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from skyferry.ledgers import codec, rules
from skyferry.model import Placement, Transfer
from skyferry.ports import DeadLetter
from skyferry.ports.ledger.dead_letters import parse_source_bucket

NONE = -1  # no time, no version
_LENGTH = struct.Struct(">I")
_pack_length = _LENGTH.pack
pack_size = struct.Struct("<I").pack  # of a text in a record with numbers


def encode_key(key: str) -> bytes:
    """Return the bytes of a key, or of a name from an event."""
    return key.encode("utf-8", "surrogatepass")


def decode_key(key: bytes) -> str:
    """Invert `encode_key`."""
    return key.decode("utf-8", "surrogatepass")


def name_place(store: str, key: str) -> bytes:
    """Return the name of a destination."""
    packed = store.encode()
    return _pack_length(len(packed)) + packed + key.encode("utf-8", "surrogatepass")


def split_place(name: bytes) -> tuple[str, str]:
    """Return store and key of a destination."""
    end = 4 + _LENGTH.unpack_from(name)[0]
    return name[4:end].decode(), decode_key(name[end:])


def pack_texts(texts: Iterable[str]) -> bytes:
    """Return texts with their lengths."""
    return b"".join(map(pack_text, texts))


def join_texts(texts: Iterable[bytes]) -> bytes:
    """Return texts, each behind its length, as `I4c0` of the scripts reads them in records with numbers."""
    return b"".join([part for text in texts for part in (pack_size(len(text)), text)])


def pack_text(text: str) -> bytes:
    """Return a text behind its length."""
    packed = encode_key(text)
    return _pack_length(len(packed)) + packed


def source_of(t: Transfer) -> bytes:
    """Return the source key if it differs from the destination key, else nothing."""
    return b"" if t.source.key == t.key else encode_key(t.source.key)


def parse_placement(name: bytes, packed: bytes) -> Placement | None:
    """Decode a placement, if there is one."""
    return codec.unpack_placement(*split_place(name), packed.decode()) if packed else None


def pack_letter(letter: DeadLetter) -> bytes:
    """Return a letter with the fields by which scripts find it."""
    bucket = encode_key(parse_source_bucket(letter.source)) if letter.reason == rules.UNROUTED else b""
    id_, route, reason = encode_key(letter.id), encode_key(letter.route), encode_key(letter.reason)
    text = codec.pack_letter(letter).encode()
    return b"".join(
        (
            struct.pack("<I", len(id_)) + id_,
            struct.pack("<d", rules.to_ticks(letter.at)),
            struct.pack("<H", len(route)) + route,
            struct.pack("<H", len(reason)) + reason,
            struct.pack("<I", len(bucket)) + bucket,
            struct.pack("<I", len(text)) + text,
        )
    )
