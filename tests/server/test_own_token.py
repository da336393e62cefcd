"""Where no token is configured, our own user is let in, and others of the machine by the workspace's token alone."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry
from tests.server.problem import problem
from tests.server.served import Service

from skyferry.cli import client, resources
from skyferry.config.load import check
from skyferry.config.settings import ServerSettings
from skyferry.errors import ConfigError
from skyferry.ports import Filter
from skyferry.server import create_app, middleware, serve, workspace_token
from skyferry.server.connections import peer
from skyferry.server.routers.events import EXAMPLE

TOKEN = "t" * 43


@asynccontextmanager
async def asked(service: Service, token: str = TOKEN) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server that has a token of its own."""
    app = create_app(service, ServerSettings(), CollectorRegistry(), workspace_token=token)
    async with serve(app, "127.0.0.1", 0) as url, httpx.AsyncClient(base_url=url) as client:
        yield client


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every client is another user's; counts how often the kernel was asked."""
    calls: list[int] = []

    def is_same_user(client_end: peer.Address, server_end: peer.Address) -> bool:
        calls.append(client_end[1])
        return False

    monkeypatch.setattr(middleware, "is_same_user", is_same_user)
    return calls


@pytest.mark.parametrize("token", [TOKEN, ""])
async def test_the_same_user_needs_no_token(token: str, service: Service) -> None:
    async with asked(service, token) as client:
        assert (await client.get("/v1/status")).status_code == 200
        assert (await client.post("/v1/events", json=EXAMPLE)).status_code == 202


@pytest.mark.parametrize("token", [TOKEN, ""])
async def test_another_user_reads_and_changes_nothing_without_it(
    token: str, service: Service, foreign: list[int]
) -> None:
    await service.bury(1)
    async with asked(service, token) as client:
        for given in ("", "Bearer", "Bearer wrong"):
            headers = {"authorization": given}
            for path in ("/v1/status", "/v1/transfers", "/v1/dead-letters", "/metrics", "/nowhere"):
                found = problem(await client.get(path, headers=headers), 401, "unauthorized")
                assert "server.token" in found["hint"]
            discarded = await client.post("/v1/dead-letters/discard", json={"all": True}, headers=headers)
            problem(discarded, 401, "unauthorized")
            problem(await client.post("/v1/events", json=EXAMPLE, headers=headers), 401, "unauthorized")
        for path in ("/health", "/docs", "/openapi.json"):
            assert (await client.get(path)).status_code == 200
    assert len(set(foreign)) == len(foreign)  # once per connection
    assert len((await service.ledger.list_dead_letters(Filter())).items) == 1
    assert service.sent == []


async def test_another_user_is_let_in_by_the_workspaces_token(service: Service, foreign: list[int]) -> None:
    async with asked(service) as client:
        for scheme in ("Bearer", "bearer"):
            response = await client.get("/v1/status", headers={"authorization": f"{scheme} {TOKEN}"})
            assert response.status_code == 200
    assert foreign == []


async def test_with_or_without_it_no_web_page_is(service: Service) -> None:
    async with asked(service) as client:
        for given in ({}, {"authorization": f"Bearer {TOKEN}"}):
            found = await client.get("/v1/status", headers={**given, "host": "evil.example"})
            problem(found, 421, "foreign-host")
            found = await client.post("/v1/events", json=EXAMPLE, headers={**given, "origin": "http://evil.example"})
            problem(found, 403, "foreign-origin")


async def test_commands_find_the_workspaces_token(service: Service, foreign: list[int], tmp_path: Path) -> None:
    async with asked(service, workspace_token.ensure_token(tmp_path)) as asking:
        url, server = str(asking.base_url), ServerSettings()
        found = await asyncio.to_thread(client.get_json, url, "/v1/status", server, 5.0, tmp_path)
        assert found["state"] == "running"
        with pytest.raises(ConfigError, match="token"):
            await asyncio.to_thread(client.get_json, url, "/v1/status", server, 5.0, tmp_path / "other")


async def test_commands_give_it_to_no_program_of_another_user(
    service: Service, foreign: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any program may listen there while no service does."""
    async with asked(service, workspace_token.ensure_token(tmp_path)) as asking:
        monkeypatch.setattr(peer, "find_listening_user", lambda address: 4711)
        with pytest.raises(ConfigError, match="contains no bearer token"):
            await asyncio.to_thread(
                client.get_json, str(asking.base_url), "/v1/status", ServerSettings(), 5.0, tmp_path
            )


# The kernel


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_the_kernel_reports_the_user_of_the_other_end(family: int, host: str) -> None:
    with socket.socket(family) as listener:
        try:
            listener.bind((host, 0))
        except OSError:
            pytest.skip(f"needs {host}")
        listener.listen()
        server_end = listener.getsockname()[:2]
        assert peer.find_listening_user(server_end) == os.getuid()
        with socket.create_connection(server_end) as client:
            client_end = client.getsockname()[:2]
            assert peer.is_same_user(client_end, server_end)
            client.shutdown(socket.SHUT_WR)
            assert peer.is_same_user(client_end, server_end)
        assert not peer.is_same_user(
            client_end, server_end
        )  # closed: it belongs to no user, and some kernels report root
        assert not peer.is_same_user(server_end, client_end)  # listens
    assert peer.find_listening_user(server_end) is None


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to be another user")
def test_the_end_of_another_user_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        os.seteuid(65533)
        try:
            client, other = socket.create_connection(listener.getsockname()), socket.create_server(("127.0.0.1", 0))
        finally:
            os.seteuid(0)
        with client, other:
            assert peer.find_listening_user(other.getsockname()) == 65533
            assert not peer.is_same_user(client.getsockname(), listener.getsockname())


def test_an_end_unknown_to_the_kernel_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_NETLINK")
    assert not peer.is_same_user(("127.0.0.1", 1), ("127.0.0.1", 2))


# The file


def test_the_token_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    workspace = tmp_path / "new"
    with ThreadPoolExecutor(8) as threads:
        (token,) = set(threads.map(workspace_token.ensure_token, [workspace] * 8))
    assert len(token) >= 32
    assert (workspace / workspace_token.FILE).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in workspace.iterdir()] == [workspace_token.FILE]
    assert workspace_token.find_token(workspace) == workspace_token.ensure_token(workspace) == token


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o622, 0o666])
def test_a_token_that_others_could_read_or_write_is_replaced(mode: int, tmp_path: Path) -> None:
    first = workspace_token.ensure_token(tmp_path)
    (tmp_path / workspace_token.FILE).chmod(mode)
    assert workspace_token.find_token(tmp_path) == ""
    assert workspace_token.ensure_token(tmp_path) not in ("", first)


def test_a_token_that_is_a_link_or_short_is_replaced(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("x" * 40)
    elsewhere.chmod(0o600)
    (tmp_path / workspace_token.FILE).symlink_to(elsewhere)
    assert workspace_token.ensure_token(tmp_path) not in ("", "x" * 40)
    assert elsewhere.read_text() == "x" * 40
    (tmp_path / workspace_token.FILE).write_text("short")
    assert len(workspace_token.ensure_token(tmp_path)) > 32


def test_where_nothing_can_be_written_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert workspace_token.ensure_token(tmp_path / "file") == ""


@pytest.mark.parametrize(
    ("environ", "made", "expected"),
    [
        ({}, True, str),
        ({"SKYFERRY_SERVER__TOKEN": "a" * 20}, False, str),
        ({"SKYFERRY_SERVER__LOCAL_ACCESS": "machine"}, False, type(None)),
        ({"SKYFERRY_STORES__SOURCE__URL": "file://."}, False, str),  # it would be copied
    ],
)
def test_the_service_makes_it_where_it_is_needed(
    environ: dict[str, str], made: bool, expected: type, tmp_path: Path
) -> None:
    token = resources.load_workspace_token(check(None, environ, tmp_path).settings)
    assert isinstance(token, expected)
    assert (tmp_path / workspace_token.FILE).exists() == made == bool(token)
