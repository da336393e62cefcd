"""Names of destinations and texts as the scripts have them.

From version 2 of the layout on, what a done transfer leaves is compressed: most of its JSON is in all records, or in the name of
the destination. Only listings and the next claim of the key read it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable

from skyferry.errors import LedgerDamaged
from skyferry.ledgers import codec, rules
from skyferry.model import Placement, Transfer
from skyferry.ports import DeadLetter
from skyferry.ports.ledger.dead_letters import parse_source_bucket

NONE = -1  # no time, no version
COMPRESSED = 2  # the version from which programs read compressed texts
_MARK = b"\1"  # in front of one; JSON begins with a bracket
# What records have in common, the most frequent last. It never changes: another one needs another mark.
_COMMON = (
    b'"azure-sequencer:","azure_blob","s3_compatible","time:000000","file","gcs-generation:000000000","gcp_gcs","deleted","high"'
    b'"us-east-1","eu-west-1","","","",""],["","","",""],"s3-sequencer:0000000000",1790000000.0,1][["aws_s3","'
    b'"],false,["s3-sequencer:0000000000"],1790000000.0,""]"created",["aws_s3","",4096,["","","",""],"",3,"normal",""]\n["'
)
_WINDOW, _MEMORY = -12, 5  # raw deflate; more saves nothing on such texts, less memory takes longer
UNREADABLE = (ValueError, TypeError, LookupError, zlib.error)  # raised for a record with wrong bytes
REMEDY = "restore a backup of the server, or use a new name in the URL and run `skyferry ledger rebuild`"
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


def shrink_text(text: str, known: bytes) -> bytes:
    """Compress JSON. `known` are texts that it repeats, which the reader has as well."""
    packer = zlib.compressobj(1, zlib.DEFLATED, _WINDOW, _MEMORY, zlib.Z_DEFAULT_STRATEGY, _COMMON + known)
    return _MARK + packer.compress(text.encode()) + packer.flush()


def restore_text(packed: bytes, known: bytes) -> str:
    """Return the JSON of a record, compressed or not. Raises one of UNREADABLE."""
    if not packed.startswith(_MARK):
        return packed.decode()
    unpacker = zlib.decompressobj(_WINDOW, _COMMON + known)
    text = unpacker.decompress(packed[1:])
    if not unpacker.eof or unpacker.unused_data:
        raise zlib.error("the compressed text has no end, or does not end there")
    return text.decode()


def shrink_transfer(transfer: str, receipt: str, id_: bytes, name: bytes) -> bytes:
    """Compress a transfer with its receipt."""
    return shrink_text(f"{transfer}\n{receipt}", id_.hex().encode() + name)


def restore_transfer(packed: bytes, id_: bytes, name: bytes) -> tuple[str, str]:
    """Return a transfer, and its receipt or ""."""
    transfer, _, receipt = restore_text(packed, id_.hex().encode() + name).partition("\n")
    return transfer, receipt


def source_of(t: Transfer) -> bytes:
    """Return the source key if it differs from the destination key, else nothing."""
    return b"" if t.source.key == t.key else encode_key(t.source.key)


def parse_placement(name: bytes, packed: bytes) -> Placement | None:
    """Decode a placement, if there is one. Raises LedgerDamaged."""
    if not packed:
        return None
    store, key = split_place(name)
    try:
        return codec.unpack_placement(store, key, restore_text(packed, name))
    except UNREADABLE as error:
        raise explain_damage(f"{key} in {store}", error) from error


def explain_damage(what: str, error: Exception) -> LedgerDamaged:
    """Return the error for a record of `what` with wrong bytes."""
    return LedgerDamaged(f"the record of {what} cannot be read: {error}", hint=REMEDY)


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
