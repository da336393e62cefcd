"""Objects as stores know them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from skyferry.frozen import dataclass

EMPTY: Mapping[str, str] = MappingProxyType({})
_PAD = "0" * 14  # what a sequencer of 18 digits lacks


class Provider(StrEnum):
    """Who keeps a bucket; the values are those of the native event."""

    AWS_S3 = "aws_s3"
    GCP_GCS = "gcp_gcs"
    AZURE_BLOB = "azure_blob"
    S3_COMPATIBLE = "s3_compatible"
    FILE = "file"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class Position:
    """Where an event or a version stands among those of the same key.

    `value` is normalised by the parser so that plain string comparison orders it (S3 sequencers, Cloud Storage generation and
    metageneration left-padded with zeros to one length).
    """

    scheme: str  # "s3-sequencer", "gcs-generation", "azure-sequencer", "time" (nanoseconds since 1970, 20 digits)
    value: str
    told: str = field(default="", compare=False, repr=False)  # the form that transfer ids are made of, if another

    @property
    def exact(self) -> bool:
        """Whether the provider promises the order. A clock does not: it may be coarse or step back."""
        return self.scheme != "time"

    def __str__(self) -> str:
        return f"{self.scheme}:{self.value}"

    @property
    def named(self) -> str:
        """As it stands in transfer ids, which never change."""
        return f"{self.scheme}:{self.told or self.value}"

    @classmethod
    def sequencer(cls, digits: str) -> Position:
        """Of S3: a hexadecimal number of any length. Those of 16 and 18 digits are one time, the longer with a zero byte ahead."""
        value = digits.upper()
        return cls("s3-sequencer", value.lstrip("0").rjust(32, "0"), value.ljust(32, "0"))

    @classmethod
    def parse(cls, text: str) -> Position:
        """The inverse of `str()`. A sequencer that was once kept padded on its right is read for the number that it was."""
        scheme, _, value = text.partition(":")
        if scheme == "s3-sequencer" and len(value) == 32 and value.endswith(_PAD) and not value.startswith(_PAD):
            return cls.sequencer(value[:18] if value.startswith("00") else value[:16])
        return cls(scheme, value)

    @classmethod
    def at(cls, nanoseconds: int) -> Position:
        """A position on the clock."""
        return cls("time", f"{nanoseconds:020d}")


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """One object, or one version of it, as an event names it."""

    provider: Provider
    bucket: str
    key: str  # UTF-8, 1 to 1,024 bytes, not percent-encoded
    region: str = ""
    version: str = ""  # version id, generation or local version; "" = the newest
    account: str = ""  # who has the bucket, where its name is not enough: Azure's account, the host of an S3 endpoint


@dataclass(frozen=True, slots=True)
class Checksums:
    """Digests of one object's whole content, lower-case hexadecimal; "" = not known."""

    crc32c: str = ""
    sha256: str = ""
    md5: str = ""
    crc64nvme: str = ""

    def conflict(self, other: Checksums) -> str:
        """The name of the first digest that both sides know and that differs, or ""."""
        for name in ("crc32c", "sha256", "md5", "crc64nvme"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine and theirs and mine != theirs:
                return name
        return ""

    def shares(self, other: Checksums) -> bool:
        """Whether both sides know at least one digest of the same kind, so that equality proves something."""
        return any(getattr(self, n) and getattr(other, n) for n in ("crc32c", "sha256", "md5", "crc64nvme"))


FILE_MODES = "file permissions"  # in `Traits.lossy` of every store that is no folder


@dataclass(frozen=True, slots=True)
class Attributes:
    """What an object carries besides its bytes."""

    content_type: str = ""
    content_encoding: str = ""
    content_language: str = ""
    content_disposition: str = ""
    cache_control: str = ""
    metadata: Mapping[str, str] = field(default_factory=lambda: EMPTY)  # user metadata, keys lower-case
    tags: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    storage_class: str = ""
    modes: tuple[int, ...] = field(
        default=(), compare=False
    )  # of a file: permission bits of the folders on its path, and its own


@dataclass(frozen=True, slots=True)
class ObjectMeta:
    """What a store says about one object version."""

    key: str
    size: int  # bytes
    version: str  # opaque, changes whenever the content does: what a read is pinned to and a precondition names
    modified: float  # seconds since 1970
    position: Position | None = None  # where this version stands, if the store orders versions
    checksums: Checksums = field(default_factory=Checksums)
    attributes: Attributes = field(default_factory=Attributes)
    kept: bool = False  # the store keeps it under an id of its own, whatever is written or deleted after it
    unfinished: bool = False  # the provider is filling it still (a copy by Azure): it has less than it will have


UNPLAIN = re.compile("[\ud800-\U0010ffff]")  # characters that UTF-16, by which some sort, orders otherwise than UTF-8


@dataclass(frozen=True, slots=True)
class Traits:
    """What a store can do. The engine reads this and never asks who the provider is."""

    create_only: bool = True  # a write can demand that the key does not exist
    replace_exact: bool = True  # a write can demand that the key holds exactly one version
    delete_exact: bool = True  # so can a delete; where not, that of a version that is `kept` still can
    finish_exact: bool = True  # finish_upload can demand what write can
    attests: frozenset[str] = frozenset({"crc32c"})  # digests that it computes itself for what it keeps
    metadata: bool = True  # user metadata are kept, so the position can be stamped
    metadata_limit: int = 2048  # bytes of user metadata, keys and values together
    single_put_limit: int = 5 * 2**30  # bytes that one write may carry
    min_part: int = 1  # bytes; the last part may be smaller
    max_part: int = 5 * 2**30
    max_parts: int = 10_000
    parallel_parts: bool = True
    resumable: bool = False  # an upload outlives the process that began it: another can ask for its parts and go on
    listed_uploads: Literal["", "own", "all"] = ""  # `uploads` gives none, those that Skyferry began, or anybody's
    copy_attests: frozenset[str] = frozenset()  # digests attested of what `copy_from` made; none = it has no such verb
    copy_exact: bool = False  # `copy_from` can demand what write can
    copy_limit: int = 5 * 2**30  # bytes that one `copy_from` may carry
    copy_parts_attest: frozenset[str] = frozenset()  # the same of uploads made by `copy_part`; none = no such verb
    # of listings: that of the keys' bytes (UTF-8); the same as far as keys are `plain`, with no character beyond U+D7FF; or any
    order: Literal["bytes", "plain", "none"] = "bytes"
    lossy: tuple[str, ...] = ()  # what it cannot carry, in words, said once at start per route


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an upload that the store has taken."""

    number: int  # from 1
    offset: int
    size: int
    tag: str  # what the store wants back on completion (ETag, block id)
    crc32c: str = ""


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart write under way. Nothing of it is visible under the key before completion."""

    id: str  # what it is called; printable
    key: str
    size: int  # of the whole object
    part_size: int
    attributes: Attributes = field(default_factory=Attributes)
    started_at: float = 0.0
    secret: str = field(default="", repr=False)  # who has it may write: kept in the ledger, and told to nobody
