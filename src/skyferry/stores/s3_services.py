"""What services that speak S3 do differently, as data: one row each, and no branch on a name anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from skyferry.model import Traits

PART_MIN = 5 * 2**20  # bytes, of all parts but the last ("Amazon S3 multipart upload limits")
METADATA_MAX = 2048  # bytes


@dataclass(frozen=True, slots=True)
class Service:
    """The abilities that differ. The defaults are those of Amazon S3."""

    checksums: bool = True  # x-amz-checksum-* headers are checked and kept, FULL_OBJECT for multipart uploads too
    create_only: bool = True  # If-None-Match: * on a PUT
    replace_exact: bool = True  # If-Match on a PUT
    delete_exact: bool = True  # If-Match on a DELETE
    finish_exact: bool = True  # the first two on the completion of a multipart upload
    tags: bool = True
    path_style: bool = True  # https://host/bucket/key; Amazon wants https://bucket.host/key
    region: str = "us-east-1"  # what requests are signed for unless the settings say
    lossy: tuple[str, ...] = ()

    def traits(self) -> Traits:
        """As the engine reads them."""
        return Traits(
            create_only=self.create_only,
            replace_exact=self.replace_exact,
            delete_exact=self.delete_exact,
            finish_exact=self.finish_exact,
            attests=frozenset({"crc32c"} if self.checksums else {"md5"}),
            metadata_limit=METADATA_MAX,
            min_part=PART_MIN,
            lossy=self.lossy + (() if self.tags else ("tags",)),
        )


AMAZON = "aws"

SERVICES: Mapping[str, Service] = MappingProxyType(
    {
        AMAZON: Service(path_style=False),
        "minio": Service(delete_exact=False),
        "r2": Service(checksums=False, delete_exact=False, finish_exact=False, tags=False, region="auto"),
        "b2": Service(
            checksums=False, create_only=False, replace_exact=False, delete_exact=False, finish_exact=False, tags=False
        ),
        # 16 takes If-Match for something else, and forgets the tags that an upload was started with
        "ceph": Service(
            checksums=False,
            replace_exact=False,
            delete_exact=False,
            finish_exact=False,
            lossy=("tags of large objects",),
        ),
        "gcs-interop": Service(
            checksums=False,
            create_only=False,
            replace_exact=False,
            delete_exact=False,
            finish_exact=False,
            tags=False,
            region="auto",
        ),
        "localstack": Service(delete_exact=False),
        # A server that is not known gets no benefit of the doubt.
        "other": Service(
            checksums=False, create_only=False, replace_exact=False, delete_exact=False, finish_exact=False
        ),
    }
)
