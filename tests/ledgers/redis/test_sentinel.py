"""Redis behind real sentinels: a failover, passwords, TLS, and what is said about a wrong URL."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tests.absent import absent
from tests.certificates import tls_proxy, write_certificate

from skyferry.clock import SystemClock
from skyferry.clouds.credentials import fixed_credentials
from skyferry.config.servers.tls import TlsSettings
from skyferry.errors import ConfigError, LedgerError, QueueError, SkyferryError
from skyferry.ledgers.redis.ledger import RedisLedger, open_ledger
from skyferry.ledgers.redis.maintenance import RedisLedgerMaintenance
from skyferry.model import State
from skyferry.ports import Outgoing
from skyferry.queues.redis.queue import RedisQueue
from skyferry.redis.address import parse_redis
from skyferry.redis.client import RedisClient, RedisOptions
from skyferry.redis.sentinel import PATIENCE, Sentinels
from skyferry.testing.ledger.harness import finish, transfer
from skyferry.testing.servers import RedisServer, ServerMissing, redis
from skyferry.testing.servers.engines.redis import sentinels

T = TypeVar("T")
PASSWORD, OTHER = "of the servers", "of the sentinels"


def connect(
    watchers: list[RedisServer],
    options: str = "sentinel=ferry",
    *,
    password: str = "",
    kind: Any = LedgerError,
    timeout: float = 30.0,
) -> RedisClient[Any]:
    url = f"redis://{','.join(each.address for each in watchers)}/ferry?{options}"
    address = parse_redis(url, "redis://HOST/NAME", names=1, allow_plain=False)
    return RedisClient("it", RedisOptions(address, timeout=timeout), fixed_credentials(password), kind)


async def find_port(client: RedisClient[Any]) -> int:
    return int((await client.run(lambda redis: redis.config_get("port")))["port"])


async def retry(call: Callable[[], Awaitable[T]]) -> T:
    """Call until it succeeds, as the engine does: every failure is one of an outage."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await call()
            except SkyferryError as error:
                if not error.transient:
                    raise
                await asyncio.sleep(0.1)


@contextmanager
def replicated(*options: str) -> Iterator[tuple[RedisServer, RedisServer]]:
    """A primary with a replica that has followed it."""
    try:
        with redis(*options) as primary, redis(*options, "--replicaof", *primary.address.split(":")) as replica:
            yield primary, replica
    except ServerMissing as missing:
        absent(missing)


@asynccontextmanager
async def watched(*options: str, lines: tuple[str, ...] = ()) -> AsyncIterator[tuple[list[RedisServer], RedisServer]]:
    """Three sentinels that know of each other and of the replica, and the primary."""
    with replicated(*options) as (primary, _), sentinels(primary, *lines) as watchers:
        yield watchers, primary


async def ask(watcher: RedisServer, *command: str) -> Any:
    address = parse_redis(f"redis://{watcher.address}/x", "", names=1, allow_plain=False)
    client = RedisClient("sentinel", RedisOptions(address), fixed_credentials(""), LedgerError)
    try:
        return await client.run(lambda redis: redis.execute_command(*command))
    finally:
        await client.close()


async def wait_for_quorum(watchers: list[RedisServer]) -> None:
    """Return once each sentinel knows the others and the replica."""
    async with asyncio.timeout(60):
        for watcher in watchers:
            while True:
                found = await ask(watcher, "SENTINEL", "MASTER", "ferry")
                state = found if isinstance(found, dict) else dict(zip(found[::2], found[1::2], strict=True))
                state = {str(k, "ascii") if isinstance(k, bytes) else k: v for k, v in state.items()}
                if int(state["num-slaves"]) == 1 and int(state["num-other-sentinels"]) == 2:
                    break
                await asyncio.sleep(0.1)


async def wait_for_replica(client: RedisClient[Any]) -> None:
    assert await client.run(lambda redis: redis.wait(1, 30_000)) == 1


async def test_a_ledger_and_a_queue_follow_a_failover() -> None:
    """The primary dies. Until another one is promoted it is an outage, and nothing that the replica had is lost."""
    async with watched() as (watchers, primary):
        await wait_for_quorum(watchers)
        ledger = await open_ledger(connect(watchers), "one", 30.0)
        queue = RedisQueue("events", connect(watchers, kind=QueueError), SystemClock())
        observer = connect(watchers)
        await finish(ledger, transfer("before"))
        await ledger.reserve_units("rate", 1, 10, 10)
        await queue.send([Outgoing(b"before")])
        await observer.run(lambda redis: redis.set("{ferry}:last", 1))
        await wait_for_replica(observer)
        primary.daemon.kill()
        await retry(lambda: finish(ledger, transfer("after")))
        await retry(lambda: queue.send([Outgoing(b"after")]))
        await retry(lambda: ledger.reserve_units("rate", 1, 10, 10))
        assert (await ledger.count_transfers())[State.DONE] == 2
        received = [message.body for message in await retry(lambda: queue.receive(10, 0.0))]
        assert sorted(received) == [b"after", b"before"]
        for each in (ledger, queue, observer):
            await each.close()


async def test_a_primary_that_is_demoted_is_left() -> None:
    """It answers, and its connections stay open: SENTINEL FAILOVER, as before maintenance."""
    async with watched() as (watchers, primary):
        await wait_for_quorum(watchers)
        ledger, observer = await open_ledger(connect(watchers), "one", 30.0), connect(watchers)
        await finish(ledger, transfer("before"))
        await wait_for_replica(observer)
        await ask(watchers[0], "SENTINEL", "FAILOVER", "ferry")
        await wait_until_demoted(primary)
        await retry(lambda: finish(ledger, transfer("after")))
        await retry(lambda: observer.run(lambda redis: redis.set("{ferry}:last", 1)))
        assert await find_port(observer) != primary.port
        await ledger.close()
        await observer.close()


async def test_a_primary_that_falls_silent_is_left() -> None:
    """Its connections stay open. The first request without an answer ends them, and the sentinels name another by then."""
    async with watched() as (watchers, primary):
        await wait_for_quorum(watchers)
        client = connect(watchers, timeout=1.0)
        await asyncio.gather(*(client.run(lambda redis: redis.set("{ferry}:last", 1)) for _ in range(4)))
        await wait_for_replica(client)
        primary.daemon.send(signal.SIGSTOP)
        try:
            await retry(lambda: client.run(lambda redis: redis.set("{ferry}:last", 2)))
            assert await find_port(client) != primary.port
        finally:
            primary.daemon.send(signal.SIGCONT)
        await client.close()


async def wait_until_demoted(primary: RedisServer) -> None:
    async with asyncio.timeout(60):
        while (await ask(primary, "ROLE"))[0] not in ("slave", b"slave"):
            await asyncio.sleep(0.1)


async def test_dead_and_silent_sentinels_cost_nothing_while_half_of_them_answer() -> None:
    """Nothing waits for the silent one."""
    async with watched() as (watchers, primary):
        await wait_for_quorum(watchers)
        client = connect(watchers)
        watchers[0].daemon.send(signal.SIGSTOP)
        async with asyncio.timeout(PATIENCE):
            assert await find_port(client) == primary.port
        await client.close()
        watchers[0].daemon.send(signal.SIGCONT)
        watchers[1].daemon.kill()
        client = connect(watchers)
        assert await find_port(client) == primary.port
        await client.close()


async def test_a_sentinel_that_lags_behind_is_outvoted() -> None:
    """It still names the primary of before, as one that is cut off does."""
    with redis() as old, redis() as new, sentinels(old, count=1) as [lagging], sentinels(new, count=2) as others:
        client = connect([lagging, *others])
        assert await find_port(client) == new.port
        await client.close()


async def test_a_connection_in_use_leaves_the_old_primary_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is cut off from its sentinels goes on accepting writes, and they are lost."""
    with redis() as old, redis() as new:
        primary = old

        async def discover(*_: object) -> tuple[str, int]:
            return "127.0.0.1", primary.port

        monkeypatch.setattr(Sentinels, "discover_master", discover)
        client, other = connect([old]), connect([old])
        used = asyncio.create_task(client.run(lambda redis: redis.blpop("{ferry}:list", 60)))
        while not int((await other.run(lambda redis: redis.info("clients")))["blocked_clients"]):
            await asyncio.sleep(0.01)
        primary = new
        assert await find_port(client) == new.port
        await other.run(lambda redis: redis.rpush("{ferry}:list", 1))
        await used
        assert [await find_port(client) for _ in range(3)] == [new.port] * 3
        await client.close()
        await other.close()


@pytest.mark.parametrize("own", [True, False], ids=["another password than the servers", "the password of the servers"])
async def test_sentinels_and_servers_demand_passwords(own: bool, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(OTHER + "\n")
    lines = (f'requirepass "{OTHER if own else PASSWORD}"', f'sentinel auth-pass ferry "{PASSWORD}"')
    options = f"sentinel=ferry&sentinel_secret_file={secret}" if own else "sentinel=ferry"
    with redis("--requirepass", PASSWORD) as server, sentinels(server, *lines) as watchers:
        client = connect(watchers, options, password=PASSWORD)
        assert await find_port(client) == server.port
        await client.close()
        wrong = connect(watchers, options, password="another")
        with pytest.raises(LedgerError, match="invalid username-password") as refused:
            await find_port(wrong)
        assert ("identity.secret_file" if own else "sentinel_secret_file") in refused.value.hint
        await wrong.close()
        if own:
            secret.unlink()
            lost = connect(watchers, options, password=PASSWORD)
            with pytest.raises(ConfigError, match="the password of the sentinels cannot be read: No such file"):
                await find_port(lost)
            await lost.close()


@pytest.mark.parametrize("trusted", ["both", "server", "sentinel"])
async def test_tls_verifies_sentinels_and_servers(trusted: str, tmp_path: Path) -> None:
    """Proxies add it here. The sentinel names the server as its certificate does: `resolve-hostnames`, `announce-hostnames`."""
    (tmp_path / "other").mkdir()
    own, other = write_certificate(tmp_path, "localhost"), write_certificate(tmp_path / "other", "localhost")
    with redis() as server:
        async with tls_proxy(tmp_path, "localhost", server.port, pair=other if trusted == "sentinel" else own) as (
            port,
            _,
        ):
            proxied = RedisServer(port, server.daemon)
            pair = other if trusted == "server" else own
            with sentinels(proxied, count=1, host="localhost") as [watcher]:
                async with tls_proxy(tmp_path, "localhost", watcher.port, pair=pair) as (secured, _):
                    url = f"rediss://localhost:{secured}/ferry?sentinel=ferry"
                    options = RedisOptions(
                        parse_redis(url, "", names=1, allow_plain=False), TlsSettings(ca_file=own[0])
                    )
                    client = RedisClient("it", options, fixed_credentials(""), LedgerError)
                    if trusted == "both":
                        assert await find_port(client) == server.port
                    else:
                        with pytest.raises(LedgerError, match="CERTIFICATE_VERIFY_FAILED") as refused:
                            await find_port(client)
                        assert not refused.value.transient
                    await client.close()


async def test_errors_say_what_is_wrong_with_the_url() -> None:
    with redis() as server, sentinels(server, count=1) as watchers:
        for at, options, message, hint in (
            (watchers, "sentinel=fery", "no sentinel knows a primary 'fery'", "SENTINEL MASTERS"),
            ([server], "sentinel=ferry", "a sentinel refuses: unknown command", "Name the sentinels"),
            (watchers, "", "unknown command", "If it is a sentinel, add ?sentinel=PRIMARY"),
        ):
            client = connect(at, options)
            with pytest.raises(LedgerError, match=message) as refused:
                await client.run(lambda redis: redis.evalsha("0" * 40, 0))
            assert hint in refused.value.hint
            assert not refused.value.transient
            await client.close()
    client = connect(watchers)
    with pytest.raises(LedgerError, match="no sentinel answers") as away:
        await find_port(client)
    assert away.value.transient
    await client.close()


async def test_doctor_names_the_primary() -> None:
    with redis() as server, sentinels(server) as watchers:
        make: Callable[[], RedisClient[LedgerError]] = partial(connect, watchers)

        async def open_() -> RedisLedger:
            return await open_ledger(make(), "one", 30.0)

        facts = await RedisLedgerMaintenance(make, open_).inspect()
        assert "the primary ferry of these sentinels" in facts.notes
        assert facts.endpoint == ",".join(each.address for each in watchers)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("sentinel=", "the name of the primary at the sentinels is missing"),
        ("sentinel_secret_file=/x", "the name of the primary at the sentinels is missing"),
        ("sentinel=ferry&cluster=on", "a cluster has no sentinels"),
    ],
)
def test_a_url_with_options_that_do_not_fit_is_refused(options: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_redis(f"redis://localhost/ferry?{options}", "", names=1, allow_plain=False)


def test_the_port_of_a_sentinel_is_its_own() -> None:
    address = parse_redis("redis://localhost,[::1]:1/ferry?sentinel=m", "", names=1, allow_plain=False)
    assert address.server.hosts == (("localhost", 26379), ("::1", 1))
