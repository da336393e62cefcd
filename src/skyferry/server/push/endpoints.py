"""The configured push endpoints, and the authenticator of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from skyferry.clouds.identity.extras import require_extra
from skyferry.clouds.identity.policy import require_tls
from skyferry.config.push import EVENT_GRID, PushSettings
from skyferry.errors import ConfigError
from skyferry.frozen import dataclass
from skyferry.server.push.authenticator import Authenticator
from skyferry.server.push.backblaze import BackblazeAuthenticator
from skyferry.server.push.event_grid import EventGridAuthenticator
from skyferry.server.push.eventarc import EventarcAuthenticator
from skyferry.server.push.shared_secret import SecretAuthenticator

GOOGLE = ("https://accounts.google.com", "accounts.google.com")
GOOGLE_KEYS = "https://www.googleapis.com/oauth2/v3/certs"
ENTRA_KEYS = "https://login.microsoftonline.com/{tenant}/discovery/v2.0/keys"
ORIGINS = ("eventgrid.azure.net",)


@dataclass(frozen=True, slots=True)
class PushEndpoints:
    """All push endpoints, by name."""

    authenticators: Mapping[str, Authenticator]
    queues: Mapping[str, str]  # the queue of each endpoint; "" = the first queue
    origins: Mapping[str, Sequence[str]]  # the origins that may push CloudEvents to each endpoint

    @classmethod
    def from_settings(
        cls, settings: Sequence[PushSettings], env: Mapping[str, str], clock: Callable[[], float]
    ) -> PushEndpoints:
        """Build the configured endpoints.

        Raises ConfigError if a secret is missing or weak, a name is used twice, or an extra is not installed.
        """
        names = [each.name for each in settings]
        if len(set(names)) < len(names):
            hint = "rename one of them"
            raise ConfigError("two push endpoints have the same name", where="push", hint=hint)
        return cls(
            {each.name: build_authenticator(each, env, clock) for each in settings},
            {each.name: each.queue for each in settings},
            {each.name: each.origins or ORIGINS for each in settings if each.kind == "eventgrid"},
        )


def build_authenticator(settings: PushSettings, env: Mapping[str, str], clock: Callable[[], float]) -> Authenticator:
    """Build the authenticator that `settings` describe. Raises ConfigError."""
    for url in filter(None, (settings.keys_url, settings.endpoint)):
        require_tls(url)
    if settings.kind in ("s3", "tigris"):
        return SecretAuthenticator(settings, env)
    if settings.kind == "b2":
        return BackblazeAuthenticator(settings, env, clock)
    if settings.kind == "eventgrid" and not settings.tenant_id:
        return EventGridAuthenticator(SecretAuthenticator(settings, env))
    with require_extra("push", f"push endpoint {settings.name}"):
        from skyferry.server.push.sns import SnsAuthenticator
        from skyferry.server.push.tokens import TokenAuthenticator, TokenVerifier
    if settings.kind == "sns":
        return SnsAuthenticator(settings, clock)
    if settings.kind in ("pubsub", "eventarc"):
        claims = {"email": settings.account, "email_verified": True}
        google = TokenVerifier(settings.keys_url or GOOGLE_KEYS, GOOGLE, settings.audience, clock)
        by_token = TokenAuthenticator(google, claims)
        return EventarcAuthenticator(by_token) if settings.kind == "eventarc" else by_token
    tenant = settings.tenant_id
    issuers = (f"https://sts.windows.net/{tenant}/", f"https://login.microsoftonline.com/{tenant}/v2.0")
    keys = settings.keys_url or ENTRA_KEYS.format(tenant=tenant)
    entra = TokenVerifier(keys, issuers, settings.audience, clock)
    return EventGridAuthenticator(TokenAuthenticator(entra, {"appid": settings.account or EVENT_GRID}))
