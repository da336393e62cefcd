"""Credentials for clouds, and the protocol of their providers, which are in `skyferry.clouds.identity`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class CredentialsProvider(Protocol[T_co]):
    """Provides the current credentials of one identity. It is called for every request, so it caches and renews."""

    async def __call__(self, *, stale: str = "") -> T_co:
        """Return credentials other than `stale`.

        `stale` names those that a service has just called expired: the token itself, or the access key of S3Credentials.
        "" accepts the current ones. Concurrent calls share one renewal.
        Raise IdentityRefused if no credentials are granted; ConnectionLost, StoreTimeout or StoreUnavailable on no answer.
        """


@dataclass(frozen=True, slots=True)
class S3Credentials:
    """Credentials for S3, SQS and compatible services."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str = field(default="", repr=False)  # of temporary credentials


S3Provider: TypeAlias = CredentialsProvider[S3Credentials]
TokenProvider: TypeAlias = CredentialsProvider[str]  # a bearer token; "" = anonymous, for a local fake


def fixed_credentials(credential: T) -> CredentialsProvider[T]:
    """Return a provider of credentials that never change."""

    async def give(*, stale: str = "") -> T:
        return credential

    return give
