"""What a door asks of those who push through it, by kind. Tokens and signatures are checked next door."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Protocol

import orjson

from skyferry.clouds.identity.extras import needs
from skyferry.clouds.identity.files import FileSecret
from skyferry.clouds.identity.policy import require_tls, secret
from skyferry.config.push import EVENT_GRID, SECRET_MIN, PushSettings
from skyferry.errors import ConfigError, StoreUnavailable
from skyferry.server.problems import ApiError

GOOGLE = ("https://accounts.google.com", "accounts.google.com")
GOOGLE_KEYS = "https://www.googleapis.com/oauth2/v3/certs"
ENTRA_KEYS = "https://login.microsoftonline.com/{tenant}/discovery/v2.0/keys"
ORIGINS = ("eventgrid.azure.net",)


@dataclass(frozen=True, slots=True)
class Knock:
    """A request at a door."""

    headers: Mapping[str, str] = field(repr=False)  # names in lower case
    secret: str = field(repr=False)  # of the path or the query
    body: Callable[[], Awaitable[bytes]] = field(repr=False)  # read when it is first asked for


@dataclass(frozen=True, slots=True)
class Admitted:
    """What becomes of it."""

    message: bool = True  # the body is a message for the queue
    body: bytes = b""  # what of it is proven; empty = all of it
    id: str = ""  # the provider's, the same when it pushes again
    reply: Mapping[str, object] = field(default_factory=dict)


class Door(Protocol):
    """Lets in what is from the provider it was made for."""

    async def admit(self, knock: Knock) -> Admitted:
        """Let it in, or raise ApiError for what is not from there, SkyferryError where that cannot be found out now.

        MUST NOT ask for the body before all is checked that can be checked without it.
        """


def refused(detail: str, hint: str = "", status: HTTPStatus = HTTPStatus.UNAUTHORIZED) -> ApiError:
    """For what is forged, expired, replayed, or for somebody else."""
    return ApiError(status, detail, kind="not-authentic", hint=hint)


@dataclass(frozen=True, slots=True)
class Doors:
    """All of them, by name."""

    doors: Mapping[str, Door]
    queues: Mapping[str, str]  # by door; "" = the first queue
    origins: Mapping[str, Sequence[str]]  # by door, who may push CloudEvents

    @classmethod
    def of(cls, settings: Sequence[PushSettings], env: Mapping[str, str], clock: Callable[[], float]) -> Doors:
        """Raises ConfigError for a secret that is missing or weak, a name used twice, or an extra that is not installed."""
        names = [each.name for each in settings]
        if len(set(names)) < len(names):
            raise ConfigError("two push endpoints have the same name", where="push")
        return cls(
            {each.name: door(each, env, clock) for each in settings},
            {each.name: each.queue for each in settings},
            {each.name: each.origins or ORIGINS for each in settings if each.kind == "eventgrid"},
        )


def door(settings: PushSettings, env: Mapping[str, str], clock: Callable[[], float]) -> Door:
    """The one that is configured."""
    for url in filter(None, (settings.keys_url, settings.endpoint)):
        require_tls(url)
    if settings.kind == "s3":
        return SecretDoor(_secret(settings, env))
    if settings.kind == "eventgrid" and not settings.tenant_id:
        return EventGridDoor(SecretDoor(_secret(settings, env)))
    with needs("push", f"push endpoint {settings.name}"):
        from skyferry.server.push.sns import SnsDoor
        from skyferry.server.push.tokens import Tokens
    if settings.kind == "sns":
        return SnsDoor(settings, clock)
    if settings.kind == "pubsub":
        claims = {"email": settings.account, "email_verified": True}
        return TokenDoor(Tokens(settings.keys_url or GOOGLE_KEYS, GOOGLE, settings.audience, clock), claims)
    tenant = settings.tenant_id
    issuers = (f"https://sts.windows.net/{tenant}/", f"https://login.microsoftonline.com/{tenant}/v2.0")
    keys = settings.keys_url or ENTRA_KEYS.format(tenant=tenant)
    entra = Tokens(keys, issuers, settings.audience, clock)
    return EventGridDoor(TokenDoor(entra, {"appid": settings.account or EVENT_GRID}))


class SecretDoor:
    """A secret as bearer token (MinIO), or as the last part of the path or `?secret=` (Ceph, Event Grid)."""

    def __init__(self, expected: FileSecret[str]) -> None:
        self._expected = expected

    async def admit(self, knock: Knock) -> Admitted:
        """See `Door`. While the file of the secret holds none, every push is put off."""
        given = bearer(knock) or knock.secret
        try:
            expected = await self._expected.get()
        except ConfigError:
            raise StoreUnavailable("the secret of a push endpoint cannot be read") from None
        if not hmac.compare_digest(given.encode(), expected.encode()):
            raise refused(
                "The secret is wrong." if given else "A secret is needed.", "send Authorization: Bearer SECRET"
            )
        return Admitted()


class Checker(Protocol):
    """Checks tokens."""

    async def claims(self, token: str) -> Mapping[str, object]:
        """What a token says that is whole, for us, and in time. Raises ApiError."""


class TokenDoor:
    """A signed token of somebody (OpenID Connect), who must be the one that was named."""

    def __init__(self, tokens: Checker, wanted: Mapping[str, object]) -> None:
        """`wanted` is what the token must claim."""
        self._tokens, self._wanted = tokens, wanted

    async def admit(self, knock: Knock) -> Admitted:
        """See `Door`."""
        token = bearer(knock)
        if not token:
            raise refused("A bearer token is needed.", "let the subscription send an authentication token")
        claims = dict(await self._tokens.claims(token))
        claims.setdefault("appid", claims.get("azp"))  # as version 2 of Entra's tokens says it
        if any(claims.get(name) != value for name, value in self._wanted.items()):
            raise refused(
                "The token is of somebody else.", "see the account of this push endpoint", HTTPStatus.FORBIDDEN
            )
        return Admitted(id=_message_id(await knock.body()))


class EventGridDoor:
    """Event Grid: its handshake, and then its events.

    https://learn.microsoft.com/azure/event-grid/end-point-validation-event-grid-events-schema
    """

    def __init__(self, guard: Door) -> None:
        self._guard = guard

    async def admit(self, knock: Knock) -> Admitted:
        """See `Door`."""
        await self._guard.admit(knock)
        match knock.headers.get("aeg-event-type", ""):
            case "SubscriptionValidation":
                return Admitted(message=False, reply={"validationResponse": _validation_code(await knock.body())})
            case "SubscriptionDeletion" | "Unsubscribe":
                return Admitted(message=False)
        return Admitted()


def bearer(knock: Knock) -> str:
    """The token of the Authorization header; "" = none."""
    scheme, _, token = knock.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _validation_code(body: bytes) -> str:
    try:
        return str(orjson.loads(body)[0]["data"]["validationCode"])
    except (ValueError, LookupError, TypeError):
        raise ApiError(
            HTTPStatus.BAD_REQUEST, "The validation event has no validation code.", kind="invalid-request"
        ) from None


def _message_id(body: bytes) -> str:
    """Pub/Sub's; the worker says what else is wrong with a message that has none."""
    try:
        return str(orjson.loads(body)["message"]["messageId"])
    except (ValueError, LookupError, TypeError):
        return ""


def _secret(settings: PushSettings, env: Mapping[str, str]) -> FileSecret[str]:
    paths = [settings.secret_file] if settings.secret_file else []
    return FileSecret(paths, partial(_read_secret, settings, env))


def _read_secret(settings: PushSettings, env: Mapping[str, str]) -> str:
    found = secret(env, settings.secret_env, settings.secret_file, f"secret of push endpoint {settings.name}")
    if len(found) < SECRET_MIN or not found.isascii() or not found.isprintable() or " " in found:
        hint = f"at least {SECRET_MIN} printable ASCII characters, without spaces"
        raise ConfigError(f"the secret of push endpoint {settings.name} is weak", where="push", hint=hint)
    return found
