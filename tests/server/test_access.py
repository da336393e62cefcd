"""Who is let in, and that every error has one shape."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from tests.server.problem import problem
from tests.server.served import Service, connect

from skyferry.clouds.identity import files
from skyferry.config.sections.kinds import Secret
from skyferry.config.settings import ServerSettings
from skyferry.errors import ConfigError, LedgerError
from skyferry.ports import Purpose
from skyferry.server import check_listen
from skyferry.server.app import create_routes
from skyferry.server.middleware import PUSH
from skyferry.server.routers.events import EXAMPLE
from skyferry.status import HealthCheck

TOKEN = ServerSettings(token=Secret("hunter2"))
PATHS = sorted(
    {
        (m.upper(), p)
        for p, operations in create_routes().openapi()["paths"].items()
        for m in operations
        if PUSH not in p
    }
    | {("GET", "/"), ("GET", "/docs"), ("GET", "/openapi.json"), ("GET", "/nowhere")}
)


@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_with_a_token_everything_but_health_and_readiness_needs_it(
    method: str, path: str, service: Service
) -> None:
    async with connect(service, TOKEN, host="skyferry.example") as client:
        response = await client.request(method, path)
    if path in ("/health", "/ready"):
        assert response.status_code == 200
    else:
        problem(response, 401, "unauthorized")
        assert response.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "header",
    ["", "hunter2", "Bearer", "Bearer ", "Bearer hunter", "Bearer hunter22", "Basic hunter2", "Bearer hünter2"],
)
async def test_a_wrong_token_is_refused(header: str, service: Service) -> None:
    async with connect(service, TOKEN) as client:
        response = await client.get("/v1/status", headers=[(b"authorization", header.encode())])
    problem(response, 401, "unauthorized")
    assert "hunter2" not in response.text


async def test_the_right_token_is_let_in_from_any_host(service: Service) -> None:
    async with connect(service, TOKEN, host="skyferry.example") as client:
        for scheme in ("Bearer", "bearer"):
            response = await client.get("/v1/status", headers={"authorization": f"{scheme} hunter2"})
            assert response.status_code == 200


async def test_only_clients_with_the_token_see_why_it_is_not_ready(service: Service) -> None:
    """Anybody may ask whether it is; the reasons name files, hosts and accounts."""
    why = "sqs: AccessDenied: User: arn:aws:sts::111122223333:assumed-role/skyferry may not"
    service.checks = [HealthCheck("queue", "photos", "down", why)]
    async with connect(service, TOKEN) as client:
        for header in ("", "Bearer hunter22"):
            response = await client.get("/ready", headers={"authorization": header})
            assert "errors" not in problem(response, 503, "not-ready")
            assert "arn:" not in response.text
        response = await client.get("/ready", headers={"authorization": "Bearer hunter2"})
    assert [fault["detail"] for fault in problem(response, 503, "not-ready")["errors"]] == [why]


async def test_only_clients_with_the_token_see_what_is_degraded(service: Service) -> None:
    service.checks = [HealthCheck("store", "archive", "down", "arn:aws:s3:::archive")]
    async with connect(service, TOKEN) as client:
        assert (await client.get("/ready")).json() == {"status": "degraded", "checks": []}
        answer = await client.get("/ready", headers={"authorization": "Bearer hunter2"})
    assert [check["name"] for check in answer.json()["checks"]] == ["archive"]


async def test_the_token_may_come_from_a_file(tmp_path: Path, service: Service) -> None:
    file = tmp_path / "token"
    file.write_text("hunter2\n")
    async with connect(service, ServerSettings(token_file=file)) as client:
        assert (await client.get("/v1/status")).status_code == 401
        assert (await client.get("/v1/status", headers={"authorization": "Bearer hunter2"})).status_code == 200


async def test_a_replaced_token_is_rejected(tmp_path: Path, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PAUSE", 0.0)
    file = tmp_path / "token"
    file.write_text("hunter2")

    async def status(token: str) -> int:
        return (await client.get("/v1/status", headers={"authorization": f"Bearer {token}"})).status_code

    async with connect(service, ServerSettings(token_file=file)) as client:
        assert [await status("hunter2"), await status("hunter3")] == [200, 401]
        file.write_text("hunter3")
        assert [await status("hunter2"), await status("hunter3")] == [401, 200]
        file.write_text("")
        assert [await status("hunter3"), await status("")] == [503, 503], "an empty file opens nothing"
        assert (await client.get("/health")).status_code == 200
        file.unlink()
        assert await status("hunter3") == 503
        file.write_text("hunter4")
        assert [await status("hunter3"), await status("hunter4")] == [401, 200]


@pytest.mark.parametrize("content", ["", " \n", "ü", "a\x00b", None])
def test_a_token_file_without_a_token_is_a_configuration_error(content: str | None, tmp_path: Path) -> None:
    """Otherwise the server would be open."""
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError):
        connect(Service(), ServerSettings(token_file=file))


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8080", "127.0.0.1:8080", "127.1.2.3", "[::1]:8080", "LOCALHOST"]
)
async def test_without_a_token_this_machine_is_answered(host: str, client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/status", headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "", "[::1", "0.0.0.0", "x@y:z"]
)  # fmt: skip
async def test_without_a_token_a_name_that_was_rebound_to_this_machine_is_not(
    host: str, client: httpx.AsyncClient, service: Service
) -> None:
    problem(await client.get("/v1/status", headers={"host": host}), 421, "foreign-host")
    problem(await client.post("/v1/events", json=EXAMPLE, headers={"host": host}), 421, "foreign-host")
    assert service.sent == []


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:9999", "http://localhost"])
async def test_without_a_token_other_web_pages_change_nothing(
    origin: str, client: httpx.AsyncClient, service: Service
) -> None:
    await service.bury(1)
    for path in ("/v1/events", f"/v1/dead-letters/{1:032x}/redrive"):
        problem(await client.post(path, headers={"origin": origin}), 403, "foreign-origin")
    problem(await client.delete(f"/v1/dead-letters/{1:032x}", headers={"origin": origin}), 403, "foreign-origin")
    assert await service.ledger.take_letters(Purpose.REDRIVE, 1, 1.0) == []


async def test_its_own_pages_may(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/events", json=EXAMPLE, headers={"origin": "http://localhost:8080"})
    assert response.status_code == 202


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/nowhere", 404, "not-found"),
        ("GET", "/v1/transfers/", 404, "not-found"),
        ("GET", "/v1/transfers/unknown", 404, "not-found"),
        ("GET", "/v1/dead-letters/unknown", 404, "not-found"),
        ("DELETE", "/v1/dead-letters/unknown", 404, "not-found"),
        ("POST", "/v1/dead-letters/unknown/redrive", 404, "not-found"),
    ],
)
async def test_what_is_not_there_is_a_problem_like_any_other(
    method: str, path: str, status: int, kind: str, client: httpx.AsyncClient
) -> None:
    response = await client.request(method, path)
    problem(response, status, kind)
    assert "allow" not in response.headers


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/events", "POST"),
        ("POST", "/health", "GET, HEAD"),
        ("PUT", "/v1/dead-letters/unknown", "GET, HEAD, DELETE"),
        ("PUT", "/v1/dead-letters/redrive", "GET, HEAD, POST, DELETE"),  # may be an id, too
        ("GET", "/v1/push/photos", "POST, OPTIONS"),
        ("POST", "/openapi.json", "GET, HEAD"),
    ],
)
async def test_a_rejected_method_is_answered_with_the_allowed_ones(
    method: str, path: str, allowed: str, client: httpx.AsyncClient
) -> None:
    response = await client.request(method, path)
    problem(response, 405, "method-not-allowed")
    assert response.headers["allow"] == allowed


@pytest.mark.parametrize("error", [RuntimeError("password=hunter2 in /etc/skyferry"), ConfigError("hunter2")])
async def test_an_internal_error_shows_only_the_correlation_id(
    error: Exception, client: httpx.AsyncClient, service: Service
) -> None:
    service.fails = error
    response = await client.get("/v1/status", headers={"x-correlation-id": "mine-1"})
    found = problem(response, 500, "internal-server-error")
    assert found["correlation_id"] == "mine-1"
    assert "hunter2" not in response.text
    assert "correlation_id=mine-1" in error.__notes__


async def test_an_outage_is_not_a_bug(client: httpx.AsyncClient, service: Service) -> None:
    service.fails = LedgerError("locked", where="/var/lib/x.db")
    response = await client.get("/v1/status")
    problem(response, 503, "service-unavailable")
    assert response.headers["retry-after"] == "1"


@pytest.mark.parametrize("given", ["x" * 65, "a b", "a\tb", "<script>", ""])
async def test_a_correlation_id_that_could_do_harm_is_replaced(given: str, client: httpx.AsyncClient) -> None:
    response = await client.get("/health", headers={"x-correlation-id": given})
    assert response.headers["x-correlation-id"] != given
    assert len(response.headers["x-correlation-id"]) == 36


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("[::1]:0", ("::1", 0)),
        ("localhost:65535", ("localhost", 65535)),
    ],
)
def test_loopback_needs_no_token(listen: str, expected: tuple[str, int]) -> None:
    assert check_listen(ServerSettings(listen=listen)) == expected


@pytest.mark.parametrize("listen", ["0.0.0.0:8080", "[::]:8080", "10.0.0.1:80", "skyferry.example:80", "localhost.:80"])
def test_any_other_address_needs_one(listen: str) -> None:
    with pytest.raises(ConfigError, match="SKYFERRY_SERVER__TOKEN"):
        check_listen(ServerSettings(listen=listen))
    assert check_listen(ServerSettings(listen=listen, token=Secret("x")))[1] in (80, 8080)


@pytest.mark.parametrize(
    "listen", ["", "8080", ":8080", "localhost", "localhost:", "localhost:x", "localhost:65536", "localhost:-1"]
)
def test_an_address_that_is_none_is_a_configuration_error(listen: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        check_listen(ServerSettings(listen=listen))
