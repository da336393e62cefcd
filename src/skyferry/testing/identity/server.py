"""The fakes on one loopback port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from skyferry.frozen import dataclass
from skyferry.testing.identity import aws, entra, google
from skyferry.testing.identity.clouds import ENTRA, GOOGLE, Clouds

Handler = Callable[[Clouds, web.Request], Awaitable[web.Response]]
SECRETS = ("WebIdentityToken", "subject_token", "client_assertion")


@dataclass(frozen=True, slots=True)
class TokenServices:
    """The URLs of the fakes."""

    clouds: Clouds
    url: str

    @property
    def aws(self) -> str:
        """AWS STS."""
        return f"{self.url}/aws/"

    @property
    def google(self) -> str:
        """Google STS and IAM credentials."""
        return f"{self.url}/google"

    @property
    def entra(self) -> str:
        """Microsoft Entra."""
        return f"{self.url}/entra"

    @property
    def host(self) -> str:
        """HOST:PORT, for GCE_METADATA_HOST."""
        return self.url.removeprefix("http://")


@asynccontextmanager
async def token_services(clouds: Clouds | None = None) -> AsyncIterator[TokenServices]:
    """Serve the fakes for the duration of the block."""
    clouds = clouds or Clouds()
    application = web.Application()
    defaults = "/computeMetadata/v1/instance/service-accounts/default"
    application.add_routes(
        [
            web.post("/aws/", _guarded(clouds, "aws", aws.answer_sts)),
            web.get("/aws/pod", _guarded(clouds, "metadata", aws.answer_pod)),
            web.post("/google/v1/token", _guarded(clouds, "google", google.answer_sts)),
            web.post(
                "/google/v1/projects/-/serviceAccounts/{account}",
                _guarded(clouds, "iam", google.answer_service_account),
            ),
            web.get(f"{defaults}/token", _guarded(clouds, "metadata", google.answer_metadata)),
            web.get(f"{defaults}/identity", _guarded(clouds, "metadata", google.answer_metadata)),
            web.post("/entra/{tenant}/oauth2/v2.0/token", _guarded(clouds, "entra", entra.answer_token)),
            web.get("/keys/{name}", _guarded(clouds, "keys", _keys)),
            web.get("/tokens/{name}", _guarded(clouds, "tokens", _token)),
            web.get("/entra/managed", _guarded(clouds, "metadata", entra.answer_managed_identity)),
        ]
    )
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield TokenServices(clouds, f"http://{host}:{port}")
    finally:
        await runner.cleanup()


async def _keys(clouds: Clouds, request: web.Request) -> web.Response:
    return web.json_response(clouds.issuers[{"google": GOOGLE, "entra": ENTRA}[request.match_info["name"]]].jwks())


async def _token(clouds: Clouds, request: web.Request) -> web.Response:
    return web.Response(text=clouds.tokens[request.match_info["name"]])


def _guarded(clouds: Clouds, service: str, handler: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Wrap a handler: count requests, and fail as planned."""

    async def handle(request: web.Request) -> web.Response:
        failure = clouds.count(service)
        if failure is None:
            return await handler(clouds, request)
        form = await request.post()
        sent = " ".join(str(form[name]) for name in SECRETS if name in form)
        return web.Response(status=failure.status, text=failure.body.replace("{token}", sent), headers=failure.headers)

    return handle
