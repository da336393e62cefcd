"""Tokens of clouds as the password of a real PostgreSQL. The clouds are fakes that check what they are given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import botocore.session  # type: ignore[import-untyped]  # no stubs are published with it
import pytest
from tests.absent import absent
from tests.clouds.identity.logins import find_rds_signer, iam_login

from skyferry.clouds.credentials import S3Credentials
from skyferry.clouds.identity.build import IdentityContext
from skyferry.clouds.identity.database import RdsTarget, database_token, sign_rds_token
from skyferry.config.identity import IdentitySettings
from skyferry.config.load import check
from skyferry.config.servers.address import parse_server
from skyferry.config.settings import LedgerSettings, QueueSettings, Settings
from skyferry.errors import ConfigError, LedgerError, QueueError
from skyferry.ports import Outgoing
from skyferry.testing.identity import TokenServices
from skyferry.testing.identity.aws import build_environment
from skyferry.testing.identity.clouds import ACCOUNT, CLIENT, ROLE
from skyferry.testing.ledger.harness import finish, transfer
from skyferry.testing.servers import PostgresServer, ServerMissing, postgres
from skyferry.wiring import Opener

IAM_USER = "skyferry@project.iam"  # Cloud SQL's name of a service account
REGION = "eu-west-1"


@pytest.fixture(scope="module")
def trusting() -> Iterator[PostgresServer]:
    """A database that asks for no password itself: the stand-in in front of it does."""
    try:
        with postgres() as server:
            data = Path(str(server.daemon.command[2]))
            (data / "pg_hba.conf").write_text("host all all 127.0.0.1/32 trust\n")
            server.run("SELECT pg_reload_conf()")
            server.run(f'CREATE ROLE "{IAM_USER}" LOGIN; GRANT CREATE ON DATABASE postgres TO "{IAM_USER}"')
            yield server
    except ServerMissing as missing:
        absent(missing)


def opener(port: int, schema: str, env: dict[str, str], user: str = "skyferry", **identity: Any) -> Opener:
    who = IdentitySettings.model_validate(identity)
    url = f"postgresql://{quote(user, safe='')}@127.0.0.1:{port}/postgres"
    queue = QueueSettings(name="q", url=f"{url}/q?schema={schema}", identity=who)
    ledger = LedgerSettings(url=f"{url}?schema={schema}", identity=who)
    return Opener(Settings(ledger=ledger, queues=(queue,)), env=env)


def put_keys(services: TokenServices, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give this machine new keys of its role. Return their name."""
    name, grant = services.clouds.grants.key(ROLE)
    for variable, value in build_environment(name, grant).items():
        monkeypatch.setenv(variable, value)
    return name


def accept_rds(services: TokenServices, port: Callable[[], int]) -> Callable[[str, str], bool]:
    def accept(user: str, token: str) -> bool:
        host = f"127.0.0.1:{port()}"
        return find_rds_signer(services.clouds.grants, token, user, host, REGION) == ROLE

    return accept


async def test_rds_takes_a_new_token_for_each_connection(
    trusting: PostgresServer, services: TokenServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the ledger and of a queue. Keys that have expired are renewed when a token of theirs is refused."""
    first, ports = put_keys(services, monkeypatch), list[int]()
    async with iam_login(trusting.port, accept_rds(services, lambda: ports[0])) as (port, tokens):
        ports.append(port)
        opened = opener(port, "rds", {}, login="aws", region=REGION)
        ledger, queue = await opened.ledger(), opened.queue("q")
        await finish(ledger, transfer("t"))
        await queue.send([Outgoing(b"x")])
        assert len(tokens) >= 2
        assert all(f"X-Amz-Credential={first}" in token for token in tokens)
        services.clouds.grants.all.pop(first)
        second = put_keys(services, monkeypatch)
        trusting.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'skyferry%'")
        with suppress(LedgerError):
            await ledger.check_writable()  # its connection has ended
        await finish(ledger, transfer("u"))
        assert f"X-Amz-Credential={second}" in tokens[-1]
        with suppress(QueueError):
            await queue.close()
        services.clouds.grants.all.clear()
        other = opener(port, "rds", {}, login="aws", region=REGION)
        with pytest.raises(LedgerError, match="PAM authentication failed") as refused:
            await other.ledger()
        assert tokens[-1] not in str(refused.value)
        assert "X-Amz" not in str(refused.value)
        assert "identity.login" in refused.value.hint
        await ledger.close()
        await opened.close()


async def test_cloud_sql_takes_the_token_of_the_machine(
    trusting: PostgresServer, services: TokenServices, around: IdentityContext
) -> None:
    """As the user that Cloud SQL names like the service account."""

    def accept(user: str, token: str) -> bool:
        grant = services.clouds.grants.valid(token)
        return user == IAM_USER and grant is not None and grant.principal == ACCOUNT

    async with iam_login(trusting.port, accept) as (port, tokens):
        opened = opener(port, "cloud_sql", dict(around.env), IAM_USER, login="google")
        ledger = await opened.ledger()
        await finish(ledger, transfer("t"))
        assert tokens
        await ledger.close()
        assert trusting.run("SELECT count(*) FROM pg_tables WHERE tableowner = 'skyferry@project.iam'") != "0"


async def test_azure_gives_a_token_for_its_database(
    services: TokenServices, around: IdentityContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{services.url}/entra/managed")
    monkeypatch.setenv("IDENTITY_HEADER", "machine")
    server = parse_server("postgresql://ferry@x.postgres.database.azure.com/d", 5432, "")
    token = await database_token(IdentitySettings(login="azure"), around, server)()
    grant = services.clouds.grants.valid(token)
    assert grant is not None
    assert grant.principal == CLIENT


def test_a_token_of_rds_is_that_of_amazon() -> None:
    """botocore makes the same, but for the order of its fields; the second of the day may differ, and with it the signature."""
    keys = S3Credentials("ASIAX", "secret", "session/+=")
    session = botocore.session.Session()
    session.set_credentials(keys.access_key, keys.secret_key, keys.token)
    target = RdsTarget(f"ferry.abc.{REGION}.rds.amazonaws.com", 5432, "fe rry", REGION)
    client = session.create_client("rds", region_name=REGION)
    parts = [
        urlsplit(f"https://{token}")
        for token in (
            sign_rds_token(keys, target),
            client.generate_db_auth_token(target.host, 5432, target.user, REGION),
        )
    ]
    fields = [dict(parse_qsl(part.query)) for part in parts]
    assert fields[0].keys() == fields[1].keys()
    assert parts[0][:3] == parts[1][:3]
    varying = {"X-Amz-Date", "X-Amz-Signature"}
    assert len({tuple(sorted((k, v) for k, v in each.items() if k not in varying)) for each in fields}) == 1
    client.close()


@pytest.mark.parametrize(
    ("url", "settings", "said"),
    [
        ("postgresql://a.x1.eu-west-1.rds.amazonaws.com/d", {}, "names no user"),
        ("postgresql://f@db.example.org/d", {}, "the region of db.example.org is not known"),
        ("postgresql://f@one,two/d", {"region": REGION}, "for one host"),
    ],
)
def test_a_token_of_rds_needs_a_user_a_region_and_one_host(
    url: str, settings: dict[str, str], said: str, around: IdentityContext
) -> None:
    with pytest.raises(ConfigError, match=said):
        database_token(IdentitySettings(login="aws", **settings), around, parse_server(url, 5432, ""))  # type: ignore[arg-type] # parsed


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ("ledger: {url: 'redis://localhost/l', identity: {login: aws}}", "ledger.identity.login"),
        ("stores: {s: {url: 's3://b', identity: {login: google}}}", "stores.s.identity.login"),
        ("ledger: {url: 'postgresql://f@localhost/d', identity: {login: aws, kind: anonymous}}", "ledger.identity"),
    ],
)
def test_a_login_where_there_is_none_is_a_fault(document: str, place: str, tmp_path: Path) -> None:
    file = tmp_path / "skyferry.yaml"
    file.write_text(document)
    assert place in {fault.where for fault in check(file, {}).faults}
