"""Shared secrets: a bearer token (MinIO, Tigris), the last part of the path, or `?secret=` (Ceph, Event Grid)."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from functools import partial

from skyferry.clouds.credentials import read_secret
from skyferry.clouds.identity.files import FileSecret
from skyferry.config.push import SECRET_MIN, PushSettings
from skyferry.errors import ConfigError, StoreUnavailable
from skyferry.server.push.authenticator import Authentication, PushRequest, bearer_token, not_authentic


class SharedSecret:
    """The configured secret of a push endpoint, read again when its file changes."""

    def __init__(self, settings: PushSettings, env: Mapping[str, str]) -> None:
        """Raises ConfigError if the secret is missing or weak."""
        paths = [settings.secret_file] if settings.secret_file else []
        self._file = FileSecret(paths, partial(_read_secret, settings, env))

    async def get(self) -> str:
        """Return the secret. Every push is deferred (StoreUnavailable) while its file contains none."""
        try:
            return await self._file.get()
        except ConfigError:
            raise StoreUnavailable("the secret of a push endpoint cannot be read") from None


class SecretAuthenticator:
    """Compares the secret in the request with the configured one."""

    def __init__(self, settings: PushSettings, env: Mapping[str, str]) -> None:
        """Raises ConfigError if the secret is missing or weak."""
        self._expected = SharedSecret(settings, env)

    async def authenticate(self, request: PushRequest) -> Authentication:
        """See `Authenticator`."""
        given, expected = bearer_token(request) or request.secret, await self._expected.get()
        if not hmac.compare_digest(given.encode(), expected.encode()):
            detail = "The secret is wrong." if given else "The request contains no secret."
            raise not_authentic(detail, "send Authorization: Bearer SECRET")
        return Authentication()


def _read_secret(settings: PushSettings, env: Mapping[str, str]) -> str:
    found = read_secret(env, settings.secret_env, settings.secret_file, f"secret of push endpoint {settings.name}")
    if len(found) < SECRET_MIN or not found.isascii() or not found.isprintable() or " " in found:
        hint = f"use at least {SECRET_MIN} printable ASCII characters without spaces"
        raise ConfigError(f"the secret of push endpoint {settings.name} is weak", where="push", hint=hint)
    return found
