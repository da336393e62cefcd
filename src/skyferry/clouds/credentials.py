"""Credentials for clouds, the protocol of their providers, which are in `skyferry.clouds.identity`, their renewal, and secrets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import field
from enum import Enum
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

from skyferry.errors import ConfigError, IdentityRefused
from skyferry.frozen import dataclass

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

    @property
    def name(self) -> str:
        """The name for `stale`."""
        return self.access_key


S3Provider: TypeAlias = CredentialsProvider[S3Credentials]
TokenProvider: TypeAlias = CredentialsProvider[str]  # a bearer token; "" = anonymous, for a local fake


def fixed_credentials(credential: T) -> CredentialsProvider[T]:
    """Return a provider of credentials that never change."""

    async def give(*, stale: str = "") -> T:
        return credential

    return give


async def renew_refused(provider: TokenProvider, refused: str) -> str:
    """Return the secret that has replaced one that a server refused; "" if there is no other."""
    try:
        return await provider(stale=refused) if refused else ""
    except IdentityRefused:  # the refusal of the server says more
        return ""


class Named(Protocol):
    """Credentials other than a bearer token, which is its own name."""

    @property
    def name(self) -> str:
        """The name for `stale`; "" if they cannot be renewed."""


class Expiry(Enum):
    """The validity of credentials, as the answer to a request shows it."""

    NONE = "the answer has another cause"
    SUSPECTED = "they may have been replaced"  # the answer counts if there are no others
    CERTAIN = "they have expired"


C = TypeVar("C", bound="str | Named")


async def call_authorized(
    provider: CredentialsProvider[C], call: Callable[[C], Awaitable[T]], find_expiry: Callable[[T], Expiry]
) -> T:
    """Return the answer of `call`, which signs and sends one request. If the credentials have expired, call again with
    renewed ones, once.

    Raise the errors of `provider` and `call`. IdentityRefused by the renewal of suspected credentials is suppressed.
    """
    credentials = await provider()
    answer = await call(credentials)
    name = credentials if isinstance(credentials, str) else credentials.name
    if not name or (expiry := find_expiry(answer)) is Expiry.NONE:
        return answer
    try:
        renewed = await provider(stale=name)
    except IdentityRefused:
        if expiry is Expiry.SUSPECTED:
            return answer
        raise
    return answer if renewed == credentials else await call(renewed)


def read_secret(env: Mapping[str, str], name: str, path: Path | None, what: str) -> str:
    """Read a secret from the file, otherwise from the variable. Raises ConfigError if neither has it. Blocks."""
    if path is not None:
        try:
            found = path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise ConfigError(f"the {what} cannot be read: {reason}", where=str(path)) from error
        if not found:
            raise ConfigError(f"the {what} is empty", where=str(path))
        return found
    if name and env.get(name, "").strip():
        return env[name].strip()
    raise ConfigError(
        f"there is no {what}", hint=f"Put it into a file, or into the variable {name or 'of the settings'}."
    )
