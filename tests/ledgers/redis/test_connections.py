"""Connections to a ledger in Redis: TLS, a password that is replaced meanwhile, an empty server, a cluster."""

from __future__ import annotations

import asyncio
from itertools import count
from pathlib import Path

import pytest
from redis.crc import key_slot
from tests.certificates import tls_proxy

from skyferry.clock import SystemClock
from skyferry.clouds.credentials import TokenProvider, fixed_credentials
from skyferry.clouds.identity import files
from skyferry.clouds.identity.build import IdentityContext, server_secret
from skyferry.config.identity import IdentitySettings
from skyferry.config.servers.tls import TlsSettings
from skyferry.errors import ConfigError, LedgerError
from skyferry.ledgers.redis.ledger import RedisLedger, open_ledger
from skyferry.ledgers.redis.maintenance import RedisLedgerMaintenance
from skyferry.ledgers.redis.scheme import FORM
from skyferry.model import State
from skyferry.redis.address import parse_redis
from skyferry.redis.client import RedisClient, RedisOptions
from skyferry.testing.ledger.harness import claim, done, finish, settle, transfer
from skyferry.testing.servers import RedisServer, redis

NAMES = count(1)


def connect(
    url: str, password: TokenProvider | None = None, tls: TlsSettings | None = None
) -> RedisClient[LedgerError]:
    address = parse_redis(url, FORM, names=1, allow_plain=False)
    options = RedisOptions(address, tls or TlsSettings(), connect_timeout=5)
    return RedisClient("ledger", options, password or fixed_credentials(""), LedgerError)


async def open_at(
    url: str, password: TokenProvider | None = None, tls: TlsSettings | None = None, owner: str = "one"
) -> RedisLedger:
    return await open_ledger(connect(url, password, tls), owner, 30.0)


async def test_tls_verifies_the_server(redis_server: RedisServer, tmp_path: Path) -> None:
    """A proxy adds it here, because not every build of the server has it."""
    async with tls_proxy(tmp_path, "localhost", redis_server.port) as (port, authority):
        url = f"rediss://localhost:{port}/tls-{next(NAMES)}"
        trusted = TlsSettings(ca_file=authority)
        ledger = await open_at(url, tls=trusted)
        await finish(ledger, transfer("t"))
        await ledger.close()
        shown = RedisLedgerMaintenance(lambda: connect(url, tls=trusted), lambda: open_at(url, tls=trusted))
        assert shown.where == url
        assert "TLS" in (await shown.inspect()).notes
        with pytest.raises(LedgerError, match="CERTIFICATE_VERIFY_FAILED") as refused:
            await open_at(url)
        assert "tls.ca_file" in refused.value.hint
        with pytest.raises(LedgerError, match="CERTIFICATE_VERIFY_FAILED"):
            await open_at(url.replace("localhost", "127.0.0.1"), tls=trusted)  # another name than the certificate's
        with pytest.raises(ConfigError, match="the files of tls cannot be read"):
            await open_at(url, tls=TlsSettings(ca_file=tmp_path / "missing"))


async def test_without_tls_nothing_is_sent_where_it_is_expected(redis_server: RedisServer, tmp_path: Path) -> None:
    """Nor the other way round. The hint names both."""
    async with tls_proxy(tmp_path, "localhost", redis_server.port) as (port, _):
        with pytest.raises(LedgerError) as plain:
            await open_at(f"redis://localhost:{port}/x")
        assert "Use rediss://" in plain.value.hint


async def test_a_password_is_rotated_while_the_ledger_is_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim that was made under the old password is settled under the new one."""
    monkeypatch.setattr(files, "PAUSE", 0.0)
    path = tmp_path / "password"
    path.write_text("the first secret\n")
    with redis("--requirepass", "the first secret") as server:
        settings = IdentitySettings(kind="static", secret_file=path)
        password = server_secret(settings, IdentityContext("ledger", SystemClock(), {}), "REDIS_PASSWORD")
        ledger = await open_at(f"redis://{server.address}/l", password)
        (held,) = await claim(ledger, transfer("t"))
        admin = connect(f"redis://{server.address}/l", fixed_credentials("the first secret"))
        await admin.run(lambda r: r.config_set("requirepass", "the second secret"))
        path.write_text("the second secret\n")
        await admin.run(lambda r: r.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"))
        for _ in range(100):
            try:
                await settle(ledger, held, done(held))
            except LedgerError:  # its connections were just closed
                await asyncio.sleep(0.1)
            else:
                break
        assert (await ledger.count_transfers())[State.DONE] == 1
        await ledger.close()
        await admin.close()
        await password.close()


async def test_workers_that_start_together_on_an_empty_server_make_one_ledger() -> None:
    """The first start, by several at once."""
    with redis() as server:
        url = f"redis://{server.address}/first"
        ledgers = await asyncio.gather(*(open_at(url, owner=f"worker-{number}") for number in range(8)))
        answers = await asyncio.gather(*(ledger.claim([transfer("t")]) for ledger in ledgers))
        assert sum(hasattr(answer, "fence") for (answer,) in answers) == 1
        maintenance = RedisLedgerMaintenance(lambda: connect(url), lambda: open_at(url))
        assert (await maintenance.read_status()).version == 2
        assert await maintenance.find_damage() == []
        for ledger in ledgers:
            await ledger.close()


async def test_a_cluster_keeps_a_ledger_in_one_slot() -> None:
    """With `cluster=on`; the same as without a cluster."""
    with redis("--cluster-enabled", "yes") as server:
        admin = connect(f"redis://{server.address}/l")
        await admin.run(lambda r: r.execute_command("CLUSTER", "ADDSLOTS", *range(16384)))
        while b"cluster_state:ok" not in await admin.run(lambda r: r.execute_command("CLUSTER", "INFO")):
            await asyncio.sleep(0.1)
        ledger = await open_at(f"redis://{server.address}/l?cluster=on")
        await finish(ledger, transfer("t"))
        assert (await ledger.count_transfers())[State.DONE] == 1
        assert len({key_slot(key.encode()) for key in ledger._db.keys}) == 1
        facts = await RedisLedgerMaintenance(
            lambda: connect(f"redis://{server.address}/l?cluster=on"), lambda: open_at("")
        ).inspect()
        assert "cluster" in facts.notes
        await ledger.close()
        await admin.run(lambda r: r.execute_command("CLUSTER", "DELSLOTS", *range(16384)))
        with pytest.raises(LedgerError) as refused:
            await open_at(f"redis://{server.address}/l?cluster=on")
        assert "CLUSTER INFO" in refused.value.hint
        await admin.close()


async def test_a_member_of_a_cluster_says_that_it_is_one() -> None:
    """A key of a slot that another member serves."""
    with redis("--cluster-enabled", "yes") as one, redis("--cluster-enabled", "yes") as two:
        admins = [connect(f"redis://{server.address}/l") for server in (one, two)]
        slot = 8192
        await admins[0].run(lambda r: r.execute_command("CLUSTER", "ADDSLOTS", *range(slot)))
        await admins[1].run(lambda r: r.execute_command("CLUSTER", "ADDSLOTS", *range(slot, 16384)))
        await admins[0].run(lambda r: r.execute_command("CLUSTER", "MEET", "127.0.0.1", two.port))
        for admin in admins:
            while b"cluster_state:ok" not in await admin.run(lambda r: r.execute_command("CLUSTER", "INFO")):
                await asyncio.sleep(0.1)
        name = next(name for name in (f"n{n}" for n in range(100)) if key_slot(name.encode()) >= slot)
        with pytest.raises(LedgerError) as refused:
            await open_at(f"redis://{one.address}/{name}")
        assert "add ?cluster=on" in refused.value.hint
        ledger = await open_at(f"redis://{one.address}/{name}?cluster=on")
        await finish(ledger, transfer("t"))
        await ledger.close()
        for admin in admins:
            await admin.close()
