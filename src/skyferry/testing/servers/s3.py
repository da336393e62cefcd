"""Buckets and stores on an S3 server of tests."""

from __future__ import annotations

import secrets
from dataclasses import replace

from skyferry.clouds.credentials import S3Credentials
from skyferry.frozen import dataclass
from skyferry.stores.s3.client import S3Client, S3Options
from skyferry.stores.s3.store import S3Store


@dataclass(frozen=True, slots=True)
class S3Place:
    """The endpoint and keys with which S3 tests may create buckets."""

    options: S3Options
    access_key: str = "any"
    secret_key: str = "any"

    async def credentials(self, *, stale: str = "") -> S3Credentials:
        """For stores."""
        return S3Credentials(self.access_key, self.secret_key)

    async def bucket(self, *, versioned: bool = False) -> str:
        """A new one."""
        name = f"bucket-{secrets.token_hex(6)}"
        client = S3Client("admin", name, self.credentials, self.options)
        await client.send("PUT")
        if versioned:
            enabled = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
            await client.send("PUT", query={"versioning": ""}, body=enabled)
        await client.close()
        return name

    def store(self, bucket: str, endpoint: str = "") -> S3Store:
        """On that bucket, maybe by way of a proxy. The caller closes it."""
        options = replace(self.options, endpoint=endpoint) if endpoint else self.options
        return S3Store("s3", bucket, self.credentials, options)
