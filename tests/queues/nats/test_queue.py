"""Outages, credentials and mistakes at NATS JetStream."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import nkeys
import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, StreamConfig
from tests.certificates import tls_proxy, write_certificate
from tests.queues.forged import FORGED

from skyferry.clock import SystemClock
from skyferry.clouds.credentials import fixed_credentials
from skyferry.clouds.identity import files
from skyferry.clouds.identity.build import IdentityContext, server_secret
from skyferry.config.identity import IdentitySettings
from skyferry.config.servers.tls import TlsSettings
from skyferry.config.settings import DeadLetterSettings, QueueSettings
from skyferry.config.urls import resolve_queue
from skyferry.errors import CannotSend, QueueError
from skyferry.events.detect import parse_message
from skyferry.ports import Outgoing
from skyferry.ports.inspection import Redrive
from skyferry.queues.nats.connection import NatsConnection, NatsOptions
from skyferry.queues.nats.queue import ATTRIBUTES, NatsQueue
from skyferry.queues.nats.scheme import parse_nats
from skyferry.testing.servers import NatsServer, nats

MINIO = Path(__file__).parents[2] / "events" / "corpus" / "valid" / "minio-put.json"
NAMES = count(1)
OPENED: list[NatsQueue] = []


@pytest.fixture(autouse=True)
async def closed() -> AsyncIterator[None]:
    yield
    while OPENED:
        with suppress(QueueError):
            await OPENED.pop().close()


def open_queue(url: str, secret: Any = None, tls: TlsSettings | None = None, lease: float = 30.0) -> NatsQueue:
    address = parse_nats(url, allow_plain=False)
    options = NatsOptions(address, url.startswith("tls"), tls or TlsSettings(), lease, connect_timeout=2)
    OPENED.append(NatsQueue("nats", NatsConnection("nats", options, secret or fixed_credentials("")), SystemClock()))
    return OPENED[-1]


@pytest.mark.parametrize("text", FORGED.values(), ids=FORGED.keys())
async def test_a_message_with_forged_attributes_is_received(nats_server: NatsServer, text: str) -> None:
    """One that could not be received would stop each worker, and come again."""
    queue = open_queue(f"nats://{nats_server.address}/forged{next(NAMES)}/c?subject=forged{next(NAMES)}")
    await queue.send([])
    await queue._connection.subscribe()
    subject, headers = queue._connection.require_subject(), {ATTRIBUTES: text}
    await queue._connection.run(lambda client, stream: stream.publish(subject, b"x", headers=headers))
    assert [(message.body, message.attributes) for message in await queue.receive(5, 5)] == [(b"x", ())]


async def test_an_outage_costs_no_attempt_and_loses_no_message(nats_server: NatsServer) -> None:
    """Calls fail while the server is down; then the same client goes on, and what it has leased is still its own."""
    with nats() as server:
        queue = open_queue(f"nats://{server.address}/s/c?subject=a")
        await queue.send([Outgoing(b"x"), Outgoing(b"y")])
        held = await queue.receive(1, 1)
        server.daemon.stop()
        await asyncio.sleep(0.1)
        for call in (queue.ack(held), queue.receive(1, 0), queue.send([Outgoing(b"z")]), queue.depth()):
            with pytest.raises(QueueError, match="cannot be reached"):
                await call
        server.daemon.start()
        assert await queue.extend(held) == []
        await queue.ack(held)
        assert [(message.body, message.attempt) for message in await queue.receive(5, 1)] == [(b"y", 1)]


async def test_a_waiting_receiver_ends_with_an_error_where_the_server_ends(nats_server: NatsServer) -> None:
    with nats() as server:
        queue = open_queue(f"nats://{server.address}/s/c?subject=a")
        waiting = asyncio.create_task(queue.receive(1, 20))
        await asyncio.sleep(0.3)
        server.daemon.kill()
        done, _ = await asyncio.wait({waiting}, timeout=25)
        assert done, "it hangs"
        assert isinstance(waiting.exception(), QueueError) or waiting.result() == []
        server.daemon.start()
        await queue.send([Outgoing(b"x")])
        assert [message.body for message in await queue.receive(1, 1)] == [b"x"]


async def test_a_server_that_falls_silent_is_left_for_another() -> None:
    """A machine without power closes no connection."""
    with nats() as one, nats() as two:
        address = parse_nats(f"nats://{one.address},{two.address}/s/c?subject=a", allow_plain=False)
        options = NatsOptions(address, False, TlsSettings(), 30.0, connect_timeout=1)
        connection = NatsConnection("nats", options, fixed_credentials(""))
        OPENED.append(NatsQueue("nats", connection, SystemClock()))
        port = await connection.run(find_port)
        silent = one if port == one.port else two
        silent.daemon.send(signal.SIGSTOP)
        connection.options = replace(options, timeout=0.5)
        with pytest.raises(QueueError, match="no answer in time"):
            await OPENED[-1].depth()
        connection.options = options
        while True:
            with suppress(QueueError):  # the driver tries the servers in random order
                assert {await connection.run(find_port), port} == {one.port, two.port}
                break
        silent.daemon.send(signal.SIGCONT)


async def test_a_receive_notices_a_server_that_falls_silent() -> None:
    """The driver raises one error for no messages and for a silent server. Its pings find the latter after minutes."""
    with nats() as server:
        queue = open_queue(f"nats://{server.address}/s/c?subject=a")
        queue._connection.options = replace(queue._connection.options, timeout=0.5)
        assert await queue.receive(2, 0.2) == []
        server.daemon.send(signal.SIGSTOP)
        try:
            with pytest.raises(QueueError, match="no answer in time"):
                await queue.receive(2, 0.2)
        finally:
            server.daemon.send(signal.SIGCONT)
        await queue.send([Outgoing(b"x")])
        assert [message.body for message in await queue.receive(2, 1)] == [b"x"]


async def find_port(client: Client, context: JetStreamContext) -> int:
    assert client.connected_url is not None
    return client.connected_url.port or 0


async def test_rotated_secrets_are_read_again(
    nats_server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PAUSE", 0.0)
    path = tmp_path / "token"
    path.write_text("the first token\n")
    secret = server_secret(
        IdentitySettings(kind="static", secret_file=path),
        IdentityContext("nats", SystemClock(), {}),
        "NATS_CREDENTIALS",
    )
    with nats('authorization { token: "the first token" }') as server:
        queue = open_queue(f"nats://{server.address}/s/c?subject=a", secret)
        await queue.send([Outgoing(b"x")])
        (server.daemon.log.parent / "nats.conf").write_text('authorization { token: "the second token" }')
        server.daemon.restart()
        path.write_text("the second token\n")
        await asyncio.sleep(0.1)
        assert [message.body for message in await queue.receive(1, 1)] == [b"x"]
        with pytest.raises(QueueError) as caught:
            await open_queue(f"nats://{server.address}/s/c", fixed_credentials("a wrong token")).depth()
        assert "Check the credentials" in caught.value.hint
        assert server.address in str(caught.value)
        assert "a wrong token" not in str(caught.value)
    await secret.close()


async def test_passwords_and_nkeys_are_accepted(nats_server: NatsServer) -> None:
    seed = nkeys.encode_seed(bytes(range(32)), nkeys.PREFIX_BYTE_USER)
    public = nkeys.from_seed(bytearray(seed)).public_key.decode()
    users = f'authorization {{ users: [ {{ user: u, password: "p w" }}, {{ nkey: {public} }} ] }}'
    with nats(users) as server:
        for user, secret in (("u@", "p w"), ("", seed.decode())):
            queue = open_queue(f"nats://{user}{server.address}/s/c?subject=a", fixed_credentials(secret))
            await queue.send([Outgoing(b"x")])
            await queue.ack(await queue.receive(1, 1))


async def test_a_server_without_tls_gets_no_credentials(nats_server: NatsServer) -> None:
    """The driver would go on in plain text, as an attacker on the path could make it do."""
    sent = bytearray()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.10.0","max_payload":1048576,"auth_required":true}\r\n')
        sent.extend(await reader.read(1000))
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        queue = open_queue(f"tls://ferry@localhost:{port}/s/c?subject=a", fixed_credentials("a secret"))
        with pytest.raises(QueueError, match="TLS is not required by the server"):
            await queue.depth()
    assert sent == b""
    with pytest.raises(QueueError, match="TLS is not required"):
        await open_queue(f"tls://localhost:{nats_server.port}/s/c?subject=a").depth()


async def test_a_server_that_expects_tls_first_is_no_outage(nats_server: NatsServer, tmp_path: Path) -> None:
    """It waits for a handshake, and the client for the first line of the server."""
    async with tls_proxy(tmp_path, "localhost", nats_server.port) as (port, _):
        with pytest.raises(QueueError, match="the server expects TLS at localhost") as caught:
            await open_queue(f"nats://localhost:{port}/s/c?subject=a").depth()
        assert (caught.value.transient, caught.value.hint) == (False, "Use tls://.")


async def test_tls_verifies_the_server(nats_server: NatsServer, tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path, "localhost")
    with nats(f'tls {{ cert_file: "{certificate}", key_file: "{key}" }}') as server:
        url = f"tls://localhost:{server.port}/s/c?subject=a"
        queue = open_queue(url, tls=TlsSettings(ca_file=certificate))
        await queue.send([Outgoing(b"x")])
        with pytest.raises(QueueError) as caught:
            await open_queue(url).depth()
        assert "tls.ca_file" in caught.value.hint


async def test_a_missing_stream_is_named_or_made(nats_server: NatsServer) -> None:
    url = f"nats://{nats_server.address}/absent/c"
    with pytest.raises(QueueError, match="stream absent does not exist") as caught:
        await open_queue(url).receive(1, 0)
    assert "?subject=SUBJECT" in caught.value.hint
    await open_queue(f"{url}?subject=absent").receive(1, 0)
    with pytest.raises(CannotSend):
        await open_queue(url).send([Outgoing(b"x")])


@pytest.mark.parametrize("gone", ["stream", "consumer"])
async def test_what_is_deleted_under_a_running_worker_is_made_again(nats_server: NatsServer, gone: str) -> None:
    """On the same connection, by the next call or the one after it, whether it receives or sends."""
    name = f"deleted-{gone}"
    receiver, sender, waiting = (open_queue(f"nats://{nats_server.address}/{name}/c?subject={name}") for _ in range(3))
    await sender.send([Outgoing(b"before")])
    assert [message.body for message in await receiver.receive(1, 1)] == [b"before"]
    blocked = asyncio.create_task(waiting.receive(1, 2))
    await asyncio.sleep(0.3)

    async def delete(_: Any, context: JetStreamContext) -> None:
        await (context.delete_stream(name) if gone == "stream" else context.delete_consumer(name, "c"))

    await receiver._connection.run(delete)
    await asyncio.wait({blocked})
    assert isinstance(blocked.exception(), QueueError) or blocked.result() == []
    for call in (partial(receiver.receive, 1, 0), partial(sender.send, [Outgoing(b"lost")])):
        with suppress(QueueError):
            await call()
    await sender.send([Outgoing(b"after")])
    bodies = [message.body for queue in (receiver, waiting) for message in await queue.receive(9, 1)]
    assert b"after" in bodies


async def test_a_lost_stream_leaves_no_subscription_behind(nats_server: NatsServer) -> None:
    """Each "no responders" made the next receive subscribe anew, and the old subscription stayed at client and server."""
    url = f"nats://{nats_server.address}/leak/c?subject=leak"
    receiver, sender = open_queue(url), open_queue(url)
    subscriptions = []
    for _ in range(4):
        for _ in range(2):  # the first call finds the loss
            with suppress(QueueError):
                await sender.send([Outgoing(b"x")])
        [held] = await receiver.receive(1, 1)
        await sender._connection.run(lambda client, context: context.delete_stream("leak"))
        with pytest.raises(QueueError, match="does not answer"):
            await receiver.ack([held])
        assert receiver._connection._client is not None
        subscriptions.append(len(receiver._connection._client._subs))
    assert subscriptions == subscriptions[:1] * 4


async def test_a_subject_of_another_stream_is_named_before_and_at_the_start(nats_server: NatsServer) -> None:
    """No waiting heals it."""
    await open_queue(f"nats://{nats_server.address}/jobs/c?subject=jobs.new").send([Outgoing(b"x")])
    queue = open_queue(f"nats://{nats_server.address}/jobs2/c?subject=jobs.new")
    said = "stream jobs2 cannot be made: its subject jobs.new belongs to stream jobs"
    assert [wrong.what for wrong in (await queue.inspect()).wrong] == [said]
    for call in (queue.receive(1, 0), queue.send([Outgoing(b"y")])):
        with pytest.raises(QueueError, match=said) as refused:
            await call
        assert refused.value.transient is False


async def test_a_server_without_jetstream_is_named(nats_server: NatsServer) -> None:
    with nats(jetstream=False) as server:
        with pytest.raises(QueueError) as caught:
            await open_queue(f"nats://{server.address}/s/c").depth()
        assert "Enable JetStream" in caught.value.hint


async def test_an_absent_server_is_named() -> None:
    with pytest.raises(QueueError, match="cannot be reached") as caught:
        await open_queue("nats://127.0.0.1:1/s/c").depth()
    assert "Check that the server runs" in caught.value.hint


async def test_the_inspection_finds_a_consumer_that_loses_messages(nats_server: NatsServer) -> None:
    queue = open_queue(f"nats://{nats_server.address}/lossy/c?subject=lossy")

    async def make(client: Any, stream: Any) -> None:
        await stream.add_stream(StreamConfig(name="lossy", subjects=["other"], storage="memory"))  # type: ignore[arg-type]  # a str works
        config = ConsumerConfig(durable_name="c", ack_wait=5, max_deliver=3, max_ack_pending=10)
        await stream.add_consumer("lossy", config)

    await queue._connection.run(make)
    facts = await queue.inspect()
    assert facts.redrive == Redrive(3, "nowhere: the message stays in the stream, and is not delivered again")
    said = " ".join(wrong.what for wrong in facts.wrong)
    for part in ("ack wait of consumer c is 5 s", "at most 10 messages", "in memory", "no subject lossy"):
        assert part in said
    await queue.receive(1, 0)
    assert queue.lease == 5  # the shorter one is used


@pytest.mark.parametrize(
    ("stream", "consumer", "said"),
    [
        ({"max_age": 5}, {}, "the stream drops messages after 5 s"),
        ({"max_age": 43_200}, {}, ""),
        ({"max_msgs": 10}, {}, "the stream drops its oldest messages at max_msgs"),
        ({"max_msgs": 10, "discard": "new"}, {}, ""),
        ({}, {"durable_name": "c", "filter_subject": "{name}.other"}, "consumer c receives {name}.other alone"),
        ({}, {"durable_name": "c", "filter_subject": "{name}.*"}, ""),
        ({"retention": "workqueue"}, {"durable_name": "d"}, "a work queue that another consumer receives from"),
        ({"retention": "workqueue"}, {"durable_name": "c"}, ""),
    ],
)
async def test_the_inspection_finds_messages_that_never_arrive(
    stream: dict[str, Any], consumer: dict[str, Any], said: str, nats_server: NatsServer
) -> None:
    name = f"never{next(NAMES)}"
    queue = open_queue(f"nats://{nats_server.address}/{name}/c?subject={name}.mine")
    consumer = {key: value.format(name=name) for key, value in consumer.items()}

    async def make(client: Any, context: Any) -> None:
        await context.add_stream(StreamConfig(name=name, subjects=[f"{name}.*"], **stream))
        if consumer:
            config = ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, ack_wait=30, max_ack_pending=20_000, **consumer)
            await context.add_consumer(name, config)

    await queue._connection.run(make)
    wrong = [each.what for each in (await queue.inspect()).wrong]
    assert [said.format(name=name) in what for what in wrong] == [True] * bool(said), wrong


async def test_consumers_that_cannot_be_pulled_are_named(nats_server: NatsServer) -> None:
    queue = open_queue(f"nats://{nats_server.address}/pushed/c?subject=pushed")

    async def make(client: Any, stream: Any) -> None:
        await stream.add_stream(StreamConfig(name="pushed", subjects=["pushed"]))
        await stream.add_consumer("pushed", ConsumerConfig(durable_name="c", deliver_subject="inbox"))
        await stream.add_consumer("pushed", ConsumerConfig(durable_name="d", ack_policy=AckPolicy.NONE))

    await queue._connection.run(make)
    with pytest.raises(QueueError, match="consumer c pushes"):
        await queue.receive(1, 0)
    with pytest.raises(QueueError, match="does not wait for acknowledgements"):
        await open_queue(f"nats://{nats_server.address}/pushed/d").receive(1, 0)


async def test_a_notification_of_minio_arrives_as_the_event_that_it_is(nats_server: NatsServer) -> None:
    """With headers of its sender as attributes."""
    queue = open_queue(f"nats://{nats_server.address}/minio/c?subject=minio")
    await queue.receive(1, 0)
    await queue._connection.run(lambda client, stream: stream.publish("minio", MINIO.read_bytes(), headers={"a": "b"}))
    (message,) = await queue.receive(1, 1)
    assert json.loads(message.body)["Key"] == "mybucket/photos/hello world.jpg"
    (event,) = parse_message(message.body, dict(message.attributes)).events
    assert (event.source.key, message.attributes) == ("photos/hello world.jpg", (("a", "b"),))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nats://localhost/stream", "lacks a name after the host"),
        ("nats://localhost/a.b/c", "no dots"),
        ("nats://u:secret@localhost/a/b", "must not contain a password"),
        ("nats://nats.example.org/a/b", "use tls://"),
        ("nats://localhost/a/b?subject=a.>", "neither wildcards"),
        ("nats://localhost/a/b?subject=", "is no subject"),
        ("nats://localhost/a/b?subjct=a", "did you mean 'subject'"),
    ],
)
def test_a_wrong_url_is_refused(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        resolve_queue(QueueSettings(name="q", url=url))


def test_dead_letters_need_a_subject() -> None:
    with pytest.raises(ValueError, match="dead letters need a subject"):
        resolve_queue(DeadLetterSettings(url="nats://localhost/a/b"))
