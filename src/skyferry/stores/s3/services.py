"""The differences of S3-compatible services as data: one row each. No code branches on a service's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from skyferry.frozen import dataclass
from skyferry.model import FILE_MODES, HEADER_FIELDS, REDIRECTS, AttributeLimits, Traits

PART_MIN = 5 * 2**20  # bytes, of all parts but the last ("Amazon S3 multipart upload limits")
METADATA_MAX = 2048  # bytes
FULL_OBJECT, COMPOSITE = "FULL_OBJECT", "COMPOSITE"


# "Working with object metadata" and "Categorizing your objects using tags", Amazon S3 user guide.
STRICT = AttributeLimits(
    headers=(*HEADER_FIELDS, "expires", "website_redirect"),
    names=r"[!#$%&'*+.^_`|~0-9a-z-]+",
    coded=True,
    tags=10,
    tag_key=128,
    tag_value=256,
    tag_text=r"[\w +\-=.:/@]*",
)


@dataclass(frozen=True, slots=True)
class S3Service:
    """The abilities of one S3-compatible service. The defaults are those of Amazon S3."""

    checksums: bool = True  # x-amz-checksum-* headers of a PUT are checked and kept
    upload_checksum: str = FULL_OBJECT  # of multipart uploads, for CRC32C; COMPOSITE; "" = none, ETags are MD5s
    create_only: bool = True  # If-None-Match: * on a PUT
    replace_exact: bool = True  # If-Match on a PUT
    delete_exact: bool = True  # If-Match on a DELETE
    finish_exact: bool = True  # the first two on the completion of a multipart upload
    copies: frozenset[str] = frozenset(
        {"crc32c", "crc64nvme"}
    )  # checksums of an object made by CopyObject; none = not used
    copy_exact: bool = True  # If-None-Match and If-Match on a CopyObject
    encodes_uploads: bool = True  # a listing of uploads honours encoding-type=url, and confirms it
    ordered: bool = True  # ListObjectsV2 lists keys in byte order
    tags: bool = True
    redirects: bool = True  # x-amz-website-redirect-location is kept
    strict_tags: bool = True  # tags have the characters that Amazon lists
    path_style: bool = True  # https://host/bucket/key; Amazon uses https://bucket.host/key
    region: str = "us-east-1"  # for signatures, unless the settings name one
    parts_in_memory: bool = False  # until the upload ends, or those before them have come
    attests_parts: bool = False  # the ETag of each part is its MD5, whatever the bucket; so none is sent with it
    lossy: tuple[str, ...] = ()

    @property
    def asking(self) -> dict[str, str]:
        """The header that requests checksums, if the service has any. Backblaze rejects requests with it."""
        return {"x-amz-checksum-mode": "ENABLED"} if self.checksums or self.upload_checksum else {}

    def traits(self) -> Traits:
        """Return the traits that the engine reads."""
        return Traits(
            create_only=self.create_only,
            replace_exact=self.replace_exact,
            delete_exact=self.delete_exact,
            finish_exact=self.finish_exact,
            checksums_returned=frozenset({"crc32c"} if self.checksums else {"md5"}),
            streamed_digests=frozenset({"crc32c", "crc64nvme"} if self.checksums else {"md5"}),
            metadata_limit=METADATA_MAX,
            attributes=STRICT if self.strict_tags else replace(STRICT, tag_text=""),
            min_part=PART_MIN,
            resumable=True,
            parts_in_memory=self.parts_in_memory,
            listed_uploads="all",
            copy_checksums=self.copies,
            copy_exact=self.copy_exact,
            in_place=bool(self.copies),
            part_copy_checksums=frozenset({"crc32c"} if self.copies and self.upload_checksum == FULL_OBJECT else ()),
            lossy=(
                *self.lossy,
                *(() if self.tags else ("tags",)),
                *(() if self.redirects else (REDIRECTS,)),
                FILE_MODES,
            ),
            order="bytes" if self.ordered else "none",
        )


AMAZON = "aws"
UNKNOWN = "other"  # a service with the fewest abilities

# An unknown server is trusted with nothing.
OTHER = S3Service(
    checksums=False,
    upload_checksum="",
    create_only=False,
    replace_exact=False,
    delete_exact=False,
    finish_exact=False,
    copies=frozenset(),
    redirects=False,
    strict_tags=False,
    ordered=False,  # SeaweedFS lists `a, a/b, a-b`
)
KNOWN = replace(OTHER, ordered=True)
# Version 16 misreads If-Match, and drops the tags given at the start of an upload.
CEPH = replace(KNOWN, create_only=True, redirects=True, encodes_uploads=False, lossy=("tags of large objects",))

# The tests run on LocalStack, Ceph and `rclone serve s3`. The other rows follow the documentation of their providers.
SERVICES: Mapping[str, S3Service] = MappingProxyType(
    {
        AMAZON: S3Service(path_style=False),
        # Versions before August 2025 accepted If-Match for an absent object (minio/minio#21526). A key below the key of
        # another object is not always listed (#20834).
        "minio": S3Service(
            delete_exact=False, copies=frozenset(), redirects=False, lossy=("a key and one below it (a and a/b)",)
        ),
        # "Checksum Types" of "S3 API compatibility", and "Conditional operations", Cloudflare R2 documentation.
        "r2": S3Service(
            checksums=False,
            upload_checksum=COMPOSITE,
            delete_exact=False,
            copies=frozenset(),
            tags=False,
            redirects=False,
            region="auto",
        ),
        "ceph": CEPH,
        "ceph-versioned": replace(CEPH, create_only=False),  # version 16 ignores If-None-Match there
        "b2": replace(KNOWN, tags=False),
        "gcs-interop": replace(KNOWN, tags=False, region="auto"),
        "localstack": S3Service(delete_exact=False, copy_exact=False, encodes_uploads=False),
        # It would compute the MD5 of a part twice, once to compare it with the one that is sent.
        "rclone": replace(OTHER, parts_in_memory=True, attests_parts=True),
        UNKNOWN: OTHER,
    }
)
# The row of buckets that keep versions, where it is another one.
VERSIONED: Mapping[str, str] = MappingProxyType({"ceph": "ceph-versioned"})


def is_same_service(one: str, other: str) -> bool:
    """Return True if two rows are of one service."""
    return VERSIONED.get(one, one) == VERSIONED.get(other, other)
