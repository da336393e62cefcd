"""What says who we are to a cloud, and the shape of what gives it. `skyferry.identity` has the providers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class CredentialsProvider(Protocol[T_co]):
    """Gives the current credential of one identity. Asked for every request, so it caches and renews."""

    async def __call__(self, *, stale: str = "") -> T_co:
        """A credential that is not `stale`.

        `stale` names the one that a service has just called expired (a token is its own name, S3Credentials go by their
        access key); "" takes the current one. However many ask, one renewal serves them all.
        Raises IdentityRefused where none is given, and ConnectionLost, StoreTimeout or StoreUnavailable where nobody answers.
        """


@dataclass(frozen=True, slots=True)
class S3Credentials:
    """Who we are to S3, SQS and what speaks like them."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str = field(default="", repr=False)  # of temporary credentials


S3Provider: TypeAlias = CredentialsProvider[S3Credentials]
TokenProvider: TypeAlias = CredentialsProvider[str]  # a bearer token; "" = anonymous, for a local fake


def fixed_credentials(credential: T) -> CredentialsProvider[T]:
    """A provider of one that never changes."""

    async def give(*, stale: str = "") -> T:
        return credential

    return give
