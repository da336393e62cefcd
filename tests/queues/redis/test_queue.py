"""Outages, rotated passwords, other programs and mistakes at a Redis Stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.certificates import tls_proxy
from tests.queues.forged import FORGED
from tests.queues.outages import receive_bodies

from skyferry.clock import SystemClock
from skyferry.clouds.credentials import fixed_credentials
from skyferry.clouds.identity import files
from skyferry.clouds.identity.build import IdentityContext, server_secret
from skyferry.config.identity import IdentitySettings
from skyferry.config.servers.tls import TlsSettings
from skyferry.config.settings import QueueSettings
from skyferry.config.urls import resolve_queue
from skyferry.errors import ConfigError, QueueError
from skyferry.events.detect import parse_message
from skyferry.ports import Outgoing
from skyferry.queues.redis.queue import RedisQueue
from skyferry.queues.redis.scheme import FORM, WRONG_TYPE
from skyferry.redis.address import parse_redis
from skyferry.redis.client import RedisClient, RedisOptions
from skyferry.testing.servers import RedisServer, redis
from skyferry.testing.servers.engines.redis import find_version

MINIO = Path(__file__).parents[2] / "events" / "corpus" / "valid" / "minio-redis-access.json"
OPENED: list[RedisQueue] = []


@pytest.fixture(autouse=True)
async def closed() -> AsyncIterator[None]:
    yield
    while OPENED:
        with suppress(QueueError):
            await OPENED.pop().close()


def open_queue(url: str, password: Any = None, tls: TlsSettings | None = None) -> RedisQueue:
    address = parse_redis(url, FORM, names=1, allow_plain=False)
    options = RedisOptions(address, tls or TlsSettings(), connect_timeout=5, wrong_type=WRONG_TYPE)
    client = RedisClient("redis", options, password or fixed_credentials(""), QueueError)
    OPENED.append(RedisQueue("redis", client, SystemClock()))
    return OPENED[-1]


async def run(queue: RedisQueue, *command: object) -> Any:
    return await queue._client.run(lambda client: client.execute_command(*command))


@pytest.fixture
def url(redis_server: RedisServer, request: pytest.FixtureRequest) -> str:
    return f"redis://{redis_server.address}/{abs(hash(request.node.name))}"


async def test_an_outage_costs_no_attempt_and_loses_no_message(redis_server: RedisServer) -> None:
    """Calls fail while the server is down; then the same client goes on, and what it has leased is still its own."""
    with redis("--appendfsync", "always") as server:
        queue = open_queue(f"redis://{server.address}/s")
        await queue.send([Outgoing(b"x"), Outgoing(b"y")])
        held = await queue.receive(1, 0)
        server.daemon.kill()
        for call in (queue.ack(held), queue.receive(1, 0), queue.send([Outgoing(b"z")]), queue.depth()):
            with pytest.raises(QueueError, match="cannot be reached"):
                await call
        server.daemon.start()
        assert await queue.extend(held) == []
        await queue.ack(held)
        assert [(message.body, message.attempt) for message in await queue.receive(5, 0)] == [(b"y", 1)]


@pytest.mark.parametrize("text", FORGED.values(), ids=FORGED.keys())
async def test_an_entry_with_forged_attributes_is_received(redis_server: RedisServer, url: str, text: str) -> None:
    """One that could not be received would stop each worker, and come again."""
    queue = open_queue(url)
    await queue.depth()
    await run(queue, "XADD", queue._stream, "*", "body", "x", "attributes", text)
    assert [(message.body, message.attributes) for message in await queue.receive(5, 5)] == [(b"x", ())]


async def test_a_waiting_receiver_survives_a_restart(redis_server: RedisServer) -> None:
    with redis() as server:
        queue, other = (open_queue(f"redis://{server.address}/s") for _ in range(2))
        waiting = asyncio.create_task(receive_bodies(queue))
        await asyncio.sleep(0.3)
        await asyncio.to_thread(server.daemon.restart)
        await other.send([Outgoing(b"x")])
        assert await asyncio.wait_for(waiting, 20) == [b"x"]


async def test_close_ends_a_wait_whose_script_runs(redis_server: RedisServer, url: str) -> None:
    """The server keeps silent while the connections are closed."""
    queue, other = open_queue(url), open_queue(url)
    await run(other, "CLIENT", "PAUSE", "500", "ALL")
    waiting = asyncio.create_task(queue.receive(1, 60))
    await asyncio.sleep(0.1)
    await queue.close()
    assert await asyncio.wait_for(waiting, 20) == []
    with pytest.raises(QueueError, match="it is closed"):
        await queue.receive(1, 60)


async def test_a_rotated_password_is_read_again(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PAUSE", 0.0)
    path = tmp_path / "password"
    path.write_text("the first secret\n")
    settings = IdentitySettings(kind="static", secret_file=path)
    with redis("--requirepass", "the first secret") as server:
        password = server_secret(settings, IdentityContext("redis", SystemClock(), {}), "REDIS_PASSWORD")
        queue = open_queue(f"redis://{server.address}/s", password)
        await queue.send([Outgoing(b"x")])
        await run(queue, "CONFIG", "SET", "requirepass", "the second secret")
        path.write_text("the second secret\n")
        await run(queue, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no")
        await asyncio.sleep(0.1)
        assert [message.body for message in await queue.receive(1, 0)] == [b"x"]
        with pytest.raises(QueueError) as caught:
            await open_queue(f"redis://{server.address}/s", fixed_credentials("a wrong secret")).depth()
        assert "REDIS_PASSWORD" in caught.value.hint
        assert server.address in str(caught.value)
        assert "a wrong secret" not in str(caught.value)
        with pytest.raises(QueueError, match="Authentication required") as caught:
            await open_queue(f"redis://{server.address}/s").depth()
        assert "Set the password" in caught.value.hint
        await password.close()


async def test_tls_verifies_the_server(redis_server: RedisServer, tmp_path: Path) -> None:
    """A proxy adds it here, because not every build of the server has it."""
    async with tls_proxy(tmp_path, "localhost", redis_server.port) as (port, authority):
        url = f"rediss://localhost:{port}/tls"
        queue = open_queue(url, tls=TlsSettings(ca_file=authority))
        await queue.send([Outgoing(b"x")])
        with pytest.raises(QueueError, match="cannot be reached") as caught:
            await open_queue(url).depth()
        assert "tls.ca_file" in caught.value.hint
        with pytest.raises(QueueError, match="the server expects TLS at localhost") as caught:
            await open_queue(f"redis://localhost:{port}/tls").depth()
        assert (caught.value.transient, "rediss://" in caught.value.hint) == (False, True)


async def test_a_server_without_tls_is_no_outage(redis_server: RedisServer) -> None:
    """It waits for the end of what it takes for a command, so the handshake ends by its time limit."""
    options = RedisOptions(
        parse_redis(f"rediss://{redis_server.address}/s", FORM, names=1, allow_plain=True), connect_timeout=0.5
    )
    client = RedisClient("q", options, fixed_credentials(""), QueueError)
    with pytest.raises(QueueError, match="the server has no TLS at") as caught:
        await client.run(lambda redis: redis.ping())
    assert (caught.value.transient, "redis://" in caught.value.hint) == (False, True)


async def test_a_server_that_has_answered_once_is_not_suspected() -> None:
    """An outage costs no request more than before, and stays one."""
    with redis() as server:
        options = RedisOptions(parse_redis(f"redis://{server.address}/s", FORM, names=1, allow_plain=True))
        client = RedisClient("q", options, fixed_credentials(""), QueueError)
        await client.run(lambda redis: redis.ping())
    with pytest.raises(QueueError, match="cannot be reached") as caught:
        await client.run(lambda redis: redis.ping())
    assert caught.value.transient


async def test_a_cluster_keeps_the_keys_of_a_stream_in_one_slot(redis_server: RedisServer) -> None:
    with redis("--cluster-enabled", "yes") as server:
        alone = open_queue(f"redis://{server.address}/s")
        await run(alone, "CLUSTER", "ADDSLOTS", *range(16384))
        while b"cluster_state:ok" not in await run(alone, "CLUSTER", "INFO"):
            await asyncio.sleep(0.1)
        for stream in ("s", "{tag}s"):
            queue = open_queue(f"redis://{server.address}/{stream}?cluster=on")
            await queue.send([Outgoing(b"x", dedup_id="d")])
            held = await queue.receive(1, 0)
            assert await queue.extend(held) == []
            await queue.ack(held)
            assert (await queue.depth()).ready == 0


async def test_waiting_costs_few_commands(redis_server: RedisServer) -> None:
    with redis() as server:
        queue = open_queue(f"redis://{server.address}/s")
        await queue.receive(1, 0.2)
        await asyncio.sleep(0.2)
        before = (await queue._client.run(lambda client: client.info("stats")))["total_commands_processed"]
        assert await queue.receive(1, 2.5) == []
        after = (await queue._client.run(lambda client: client.info("stats")))["total_commands_processed"]
        assert after - before < 20  # one script, whose commands count


async def test_entries_of_other_programs_are_received(url: str) -> None:
    queue = open_queue(url)
    stream = queue._stream
    await run(queue, "XADD", stream, "*", "event", "one field")
    await run(queue, "XADD", stream, "*", "a", "1", "body", "that field", "attributes", "not ours")
    await run(queue, "XADD", stream, "*", "a", "1", "b", "2")
    assert [(message.body, message.attributes) for message in await queue.receive(5, 0)] == [
        (b"one field", ()),
        (b"that field", ()),
        (b"", ()),
    ]


async def test_the_list_that_minio_fills_is_received(url: str) -> None:
    """Within a second, and each entry once."""
    one, two = (open_queue(f"{url}?list=minio-{abs(hash(url))}") for _ in range(2))
    waiting = asyncio.create_task(one.receive(5, 10))
    await asyncio.sleep(0.1)
    await run(two, "RPUSH", one._list, MINIO.read_bytes())
    (message,) = await waiting
    (event,) = parse_message(message.body, {}).events
    assert event.source.key == "photos/hello world.jpg"
    await run(two, "RPUSH", one._list, b"1", b"2", b"3")
    assert (await one.depth()).ready == 3
    assert [message.body for message in (*await one.receive(2, 0), *await two.receive(5, 0))] == [b"1", b"2", b"3"]


async def test_what_another_consumer_left_pending_is_taken_over(url: str) -> None:
    """A consumer that read without these scripts, and died."""
    queue = open_queue(url)
    await queue.receive(1, 0)
    number = await run(queue, "XADD", queue._stream, "*", "body", "x")
    await run(queue, "XREADGROUP", "GROUP", "skyferry", "dead", "STREAMS", queue._stream, ">")
    assert await queue.receive(1, 0) == []
    await run(queue, "XCLAIM", queue._stream, "skyferry", "dead", 0, number, "IDLE", 61_000)
    await queue.receive(1, 0)
    assert [message.body for message in await queue.receive(1, 0)] == [b"x"]


async def test_acknowledged_entries_leave_nothing_behind(url: str) -> None:
    queue = open_queue(url)
    await queue.send([Outgoing(b"x", dedup_id=f"{number}") for number in range(50)])
    await queue.ack(await queue.receive(100, 0))
    assert await run(queue, "XLEN", queue._stream) == 0
    assert [await run(queue, "EXISTS", key) for key in queue._keys[1:]] == [0] * 5
    assert (await run(queue, "XPENDING", queue._stream, "skyferry"))["pending"] == 0


async def test_an_entry_that_was_trimmed_meanwhile_is_forgotten(url: str) -> None:
    queue = open_queue(url)
    await queue.send([Outgoing(b"x")])
    await queue.release(await queue.receive(1, 0), 0)
    await run(queue, "XTRIM", queue._stream, "MAXLEN", 0)
    assert await queue.receive(1, 0) == []
    assert await run(queue, "EXISTS", queue._keys[2], queue._keys[3]) == 0


async def test_a_flushed_server_starts_anew(redis_server: RedisServer) -> None:
    with redis() as server:
        queue = open_queue(f"redis://{server.address}/s")
        await queue.receive(1, 0)
        await run(queue, "FLUSHALL")
        await queue.send([Outgoing(b"x")])
        assert [message.body for message in await queue.receive(1, 0)] == [b"x"]


async def test_a_key_of_another_type_is_named(url: str) -> None:
    queue = open_queue(url)
    await run(queue, "HSET", queue._stream, "bucket/key", "{}")
    with pytest.raises(QueueError, match="WRONGTYPE") as caught:
        await queue.receive(1, 0)
    assert "not a stream" in caught.value.hint
    assert [wrong.what for wrong in (await queue.inspect()).wrong] == ["the key is a hash, not a stream"]


async def test_the_inspection_finds_what_loses_messages(redis_server: RedisServer) -> None:
    with redis() as server:
        queue = open_queue(f"redis://{server.address}/s")
        facts = await queue.inspect()
        assert facts.wrong == ()
        assert "append-only file, appendfsync everysec" in facts.notes[3]
        await run(queue, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        await run(queue, "CONFIG", "SET", "appendonly", "no")
        await queue.receive(1, 0)
        await run(queue, "XGROUP", "CREATE", "s", "auditors", "0")
        said = [wrong.what for wrong in (await queue.inspect()).wrong]
        assert said[0] == "maxmemory-policy is allkeys-lru: messages are deleted when memory is short"
        assert said[1] == "nothing is written to disk: a restart loses all messages"
        assert said[2].startswith("group auditors reads the same stream")
        await run(queue, "CONFIG", "SET", "maxmemory-policy", "noeviction")
        await run(queue, "CONFIG", "SET", "maxmemory", "1024")
        said = [wrong.what for wrong in (await queue.inspect()).wrong]
        assert said[1].endswith("% of maxmemory is in use: no message can be sent once it is full")


async def test_a_user_without_rights_is_named(redis_server: RedisServer) -> None:
    with redis() as server:
        admin = open_queue(f"redis://{server.address}/s")
        await run(admin, "ACL", "SETUSER", "poor", "on", ">secret of poor", "~other", "+ping", "+evalsha", "+eval")
        poor = open_queue(f"redis://poor@{server.address}/s", fixed_credentials("secret of poor"))
        with pytest.raises(QueueError, match=r"(?i)no ?perm|permissions") as caught:
            await poor.receive(1, 0)
        assert "ACL SETUSER" in caught.value.hint
        assert "its version is not readable" in (await poor.inspect()).notes
        if find_version() < (7,):
            assert not isinstance(await admin.sends(), bool)


async def test_an_absent_server_is_named() -> None:
    with pytest.raises(QueueError, match="cannot be reached") as caught:
        await open_queue("redis://127.0.0.1:1/s").receive(1, 0)
    assert "Check that the server runs" in caught.value.hint


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://localhost", "lacks a name after the host"),
        ("redis://:secret@localhost/s", "must not contain a password"),
        ("redis://redis.example.org/s", "use rediss://"),
        ("redis://a,b/s?cluster=off", "add cluster=on|without TLS"),
        ("redis://localhost,localhost/s", "add cluster=on"),
        ("redis://localhost/s?db=x", "'x' is no number"),
        ("redis://localhost/s?db=1&cluster=on", "a cluster has no databases"),
        ("redis://localhost/1", "is a name, not the number of a database"),
        ("redis://localhost/s?cluster=yes", "neither on nor off"),
        ("redis://localhost/s?list=s", "name two keys"),
        ("redis://localhost/s?group=", "consumer group is empty"),
        ("redis://localhost/s?grup=a", "did you mean 'group'"),
    ],
)
def test_a_wrong_url_is_refused(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        resolve_queue(QueueSettings(name="q", url=url))


def test_only_a_password_is_an_identity_there() -> None:
    settings = IdentitySettings(kind="sdk")
    with pytest.raises(ConfigError, match="sdk is no identity there"):
        server_secret(settings, IdentityContext("redis", SystemClock(), {}), "REDIS_PASSWORD")


async def test_a_write_after_the_end_of_a_connection_is_an_outage() -> None:
    """uvloop raises RuntimeError for it, and any other RuntimeError is a bug."""
    client = RedisClient(
        "q",
        RedisOptions(parse_redis("redis://localhost/s", FORM, names=1, allow_plain=True)),
        fixed_credentials(""),
        QueueError,
    )

    async def fail(message: str) -> None:
        raise RuntimeError(message)

    with pytest.raises(QueueError, match="cannot be reached") as lost:
        await client.run(
            lambda _: fail("unable to perform operation on <TCPTransport closed=True>; the handler is closed")
        )
    assert lost.value.transient
    with pytest.raises(RuntimeError, match="a bug"):
        await client.run(lambda _: fail("a bug"))
