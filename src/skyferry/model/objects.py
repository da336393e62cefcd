"""Objects, their versions and uploads, and the traits of the stores that keep them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from skyferry.frozen import dataclass
from skyferry.regex import compile_lazily

EMPTY: Mapping[str, str] = MappingProxyType({})
_PAD = "0" * 14  # completes a sequencer of 18 digits to 32


class Provider(StrEnum):
    """The kind of service that keeps a bucket. The values are those of the native event."""

    AWS_S3 = "aws_s3"
    GCP_GCS = "gcp_gcs"
    AZURE_BLOB = "azure_blob"
    S3_COMPATIBLE = "s3_compatible"
    FILE = "file"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class Position:
    """The place of an event or a version in the order of its key.

    The parser normalises `value` so that comparing strings orders it: S3 sequencers, and the generation and metageneration of
    Cloud Storage, are left-padded with zeros to one length.
    """

    scheme: str  # "s3-sequencer", "gcs-generation", "azure-sequencer", "time" (nanoseconds since 1970, 20 digits)
    value: str
    id_value: str = field(default="", compare=False, repr=False)  # the value in transfer ids, if it differs

    @property
    def exact(self) -> bool:
        """True if the provider guarantees the order. A clock does not: it may be coarse or step back."""
        return self.scheme != "time"

    def __str__(self) -> str:
        return f"{self.scheme}:{self.value}"

    @property
    def id_text(self) -> str:
        """The form used in transfer ids, which never change."""
        return f"{self.scheme}:{self.id_value or self.value}"

    @classmethod
    def sequencer(cls, digits: str) -> Position:
        """Return the position of an S3 sequencer, a hexadecimal number of any length.

        Sequencers of 16 and of 18 digits count the same time; the longer ones begin with a zero byte.
        """
        value = digits.upper()
        return cls("s3-sequencer", value.lstrip("0").rjust(32, "0"), value.ljust(32, "0"))

    @classmethod
    def parse(cls, text: str) -> Position:
        """Invert `str()`. A sequencer that an older version padded on the right is restored to its number."""
        scheme, _, value = text.partition(":")
        if scheme == "s3-sequencer" and len(value) == 32 and value.endswith(_PAD) and not value.startswith(_PAD):
            return cls.sequencer(value[:18] if value.startswith("00") else value[:16])
        return cls(scheme, value)

    @classmethod
    def at(cls, nanoseconds: int) -> Position:
        """Return a position on the clock."""
        return cls("time", str(nanoseconds).zfill(20))  # half the time of a format


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """One object, or one version of it, as an event names it."""

    provider: Provider
    bucket: str
    key: str  # UTF-8, 1 to 1,024 bytes, not percent-encoded
    region: str = ""
    version: str = ""  # version id, generation or local version; "" = the newest
    account: str = ""  # owner of a bucket whose name is not unique: an Azure account, the host of an S3 endpoint
    endpoint: str = field(default="", compare=False)  # the URL of its server, as an event names it; not kept


@dataclass(frozen=True, slots=True)
class Checksums:
    """Digests of an object's whole content in lower-case hexadecimal; "" = unknown."""

    crc32c: str = ""
    sha256: str = ""
    md5: str = ""
    crc64nvme: str = ""

    def find_conflict(self, other: Checksums) -> str:
        """Return the name of the first digest that both sides know and that differs, or ""."""
        if self.crc32c and other.crc32c and self.crc32c != other.crc32c:
            return "crc32c"
        if self.sha256 and other.sha256 and self.sha256 != other.sha256:
            return "sha256"
        if self.md5 and other.md5 and self.md5 != other.md5:
            return "md5"
        if self.crc64nvme and other.crc64nvme and self.crc64nvme != other.crc64nvme:
            return "crc64nvme"
        return ""

    def comparable_with(self, other: Checksums) -> bool:
        """Return True if both sides know a digest of the same kind, so that equality is a proof."""
        return bool(
            (self.crc32c and other.crc32c)
            or (self.sha256 and other.sha256)
            or (self.md5 and other.md5)
            or (self.crc64nvme and other.crc64nvme)
        )


NO_CHECKSUMS = Checksums()

# In `Traits.lossy` of stores that keep none.
FILE_MODES = "file permissions"
TAGS = "tags"
EXPIRES = "Expires"
REDIRECTS = "website redirects"


@dataclass(frozen=True, slots=True)
class Attributes:
    """Headers, metadata and tags of an object."""

    content_type: str = ""
    content_encoding: str = ""
    content_language: str = ""
    content_disposition: str = ""
    cache_control: str = ""
    metadata: Mapping[str, str] = field(default_factory=lambda: EMPTY)  # user metadata, keys lower-case
    tags: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    storage_class: str = ""
    expires: str = ""  # a header: a date of HTTP, or any text
    website_redirect: str = ""  # a key or a URL
    modes: tuple[int, ...] = field(default=(), compare=False)  # permission bits of a file's folders, then its own
    mtime: int | None = field(default=None, compare=False)  # of a file, in nanoseconds since 1970


NO_ATTRIBUTES = Attributes()


@dataclass(frozen=True, slots=True)
class ObjectMeta:
    """One object version as its store describes it."""

    key: str
    size: int  # bytes
    version: str  # opaque, changes with the content: reads are pinned to it, preconditions name it
    modified: float  # seconds since 1970
    position: Position | None = None  # None if the store does not order versions
    checksums: Checksums = NO_CHECKSUMS
    attributes: Attributes = NO_ATTRIBUTES
    kept: bool = False  # the store keeps it under a version id, whatever is written or deleted later
    unfinished: bool = False  # the provider is still filling it (a server-side copy at Azure)

    @property
    def is_folder_marker(self) -> bool:
        """True for the empty objects that consoles make for folders."""
        return self.size == 0 and self.key.endswith("/")


HEADER_FIELDS = ("content_type", "content_encoding", "content_language", "content_disposition", "cache_control")


@dataclass(frozen=True, slots=True)
class AttributeLimits:
    """The limits of a store for attributes. A route decides about what exceeds them (`unfit`)."""

    headers: tuple[str, ...] = ()  # fields of Attributes that take printable ASCII only
    names: str = ""  # regular expression of names of user metadata; "" = any
    coded: bool = False  # user metadata are headers: other text than printable ASCII takes a third more, and 12 bytes
    tags: int = 0  # number; 0 = no limit, also below
    tag_key: int = 0  # characters
    tag_value: int = 0
    tag_text: str = ""  # regular expression of keys and values; "" = any


NO_LIMITS = AttributeLimits()


UNPLAIN = compile_lazily("[\ud800-\U0010ffff]")  # characters that sort differently in UTF-16, which some stores sort by


@dataclass(frozen=True, slots=True)
class Traits:
    """The abilities and limits of a store. The engine reads these and never asks for the provider."""

    create_only: bool = True  # a write can demand that the key does not exist
    replace_exact: bool = True  # a write can demand that the key has exactly this version
    delete_exact: bool = True  # a delete can demand it; a delete of a `kept` version always can
    finish_exact: bool = True  # `finish_upload` can demand the same as a write
    checksums_returned: frozenset[str] = frozenset({"crc32c"})  # digests that the store computes itself
    metadata: bool = True  # it keeps user metadata, so the position can be stamped
    keeps_mtime: bool = False  # it is a filesystem: `Attributes.mtime` needs no user metadata
    folders: bool = False  # it has folders, which `make_folder` makes of folder markers
    metadata_limit: int = 2048  # bytes of user metadata, keys and values together
    attributes: AttributeLimits = NO_LIMITS
    single_put_limit: int = 5 * 2**30  # bytes that one write may carry
    streamed_digests: frozenset[str] = frozenset()  # digests it checks of a `write_stream`; empty = not supported
    min_part: int = 1  # bytes; the last part may be smaller
    max_part: int = 5 * 2**30
    max_parts: int = 10_000
    parallel_parts: bool = True
    resumable: bool = False  # another process can continue an upload
    parts_in_memory: bool = False  # it keeps parts in its memory, all of them or those ahead, so one request is better
    listed_uploads: Literal["", "own", "all"] = ""  # `uploads` lists none, those that Skyferry began, or all
    copy_checksums: frozenset[str] = frozenset()  # digests it computes for `copy_from`; empty = not supported
    copy_exact: bool = False  # `copy_from` can demand the same as a write
    in_place: bool = False  # `set_attributes` changes what an object carries without moving its bytes
    copy_limit: int = 5 * 2**30  # bytes that one `copy_from` may copy
    part_copy_checksums: frozenset[str] = frozenset()  # digests it computes for `copy_part`; empty = not supported
    # Order of listings: by the UTF-8 bytes of keys, by them only for keys without characters beyond U+D7FF, or undefined.
    order: Literal["bytes", "plain", "none"] = "bytes"
    lossy: tuple[str, ...] = ()  # metadata that it cannot keep, in words; reported once per route at the start


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an upload that the store has received."""

    number: int  # from 1
    offset: int
    size: int
    tag: str  # ETag or block id, which completing the upload needs
    crc32c: str = ""


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart write in progress. Nothing is visible under the key before completion."""

    id: str  # printable
    key: str
    size: int  # of the whole object
    part_size: int
    attributes: Attributes = field(default_factory=Attributes)
    started_at: float = 0.0
    secret: str = field(default="", repr=False)  # grants writing: kept in the ledger, never shown
