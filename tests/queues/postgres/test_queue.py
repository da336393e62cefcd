"""Outages, rotated passwords and mistakes at a queue in PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.queues.forged import FORGED
from tests.queues.outages import receive_bodies

from skyferry.clock import SystemClock
from skyferry.clouds.credentials import fixed_credentials
from skyferry.clouds.identity import files
from skyferry.clouds.identity.build import IdentityContext, server_secret
from skyferry.config.identity import IdentitySettings
from skyferry.config.settings import QueueSettings
from skyferry.config.urls import resolve_queue
from skyferry.errors import QueueError
from skyferry.model import Priority
from skyferry.ports import Outgoing
from skyferry.postgres.address import parse_postgres
from skyferry.postgres.pool import PoolOptions, PostgresPool
from skyferry.queues.postgres import listener
from skyferry.queues.postgres import queue as queues
from skyferry.queues.postgres.queue import PostgresQueue
from skyferry.queues.postgres.scheme import FORM
from skyferry.testing.servers import PostgresServer, postgres


class Place:
    """A database, and clients of its queue `events`."""

    def __init__(self, server: PostgresServer, database: str) -> None:
        self.server, self.database, self.opened = server, database, list[PostgresQueue]()

    def open(self, password: Any = None, user: str = "", address: str = "", database: str = "") -> PostgresQueue:
        where = address or self.server.address
        url = f"postgresql://{user or self.server.user}@{where}/{database or self.database}/events"
        options = PoolOptions(parse_postgres(url, FORM, names=1, allow_plain=False), connect_timeout=5)
        pool = PostgresPool("pg", options, password or fixed_credentials(self.server.password), QueueError)
        self.opened.append(PostgresQueue("pg", pool, f"owner-{len(self.opened)}", SystemClock()))
        return self.opened[-1]

    async def close(self) -> None:
        for queue in self.opened:
            with suppress(QueueError):
                await queue.close()


@pytest.fixture
async def place(postgres_server: PostgresServer) -> AsyncIterator[Place]:
    place = Place(postgres_server, postgres_server.create_database())
    yield place
    await place.close()


async def test_an_outage_costs_no_attempt_and_loses_no_message(postgres_server: PostgresServer) -> None:
    """Calls fail while the server is down; then the same client goes on, and what it has leased is still its own."""
    with postgres() as server:
        place = Place(server, "postgres")
        queue, other = place.open(), place.open()
        await queue.send([Outgoing(b"x"), Outgoing(b"y")])
        (held,) = await queue.receive(1, 0)
        waiting = asyncio.create_task(other.receive(1, 0.05))
        assert [message.attempt for message in await waiting] == [1]
        server.daemon.kill()
        for call in (queue.ack([held]), queue.receive(1, 0), queue.send([Outgoing(b"z")]), queue.depth()):
            with pytest.raises(QueueError):
                await call
        server.daemon.start()
        assert await queue.extend([held]) == []
        await queue.ack([held])
        assert (await queue.depth()).leased == 1
        await place.close()


@pytest.mark.parametrize("text", FORGED.values(), ids=FORGED.keys())
async def test_a_row_with_forged_columns_is_received(place: Place, text: str) -> None:
    """One that could not be received would stop each worker, and come again."""
    queue = place.open()
    await queue.send([Outgoing(b"x")])
    update = f"UPDATE {queue._table} SET attributes = $1, priority = 'urgent'"
    await queue._pool.run(lambda connection: connection.execute(update, text))
    (message,) = await queue.receive(5, 5)
    assert (message.body, message.attributes, message.priority) == (b"x", (), Priority.NORMAL)


async def test_a_waiting_receiver_survives_a_restart(postgres_server: PostgresServer) -> None:
    """It is notified again by its new connection."""
    with postgres() as server:
        place = Place(server, "postgres")
        queue, other = place.open(), place.open()
        await other.depth()
        waiting = asyncio.create_task(receive_bodies(queue))
        await asyncio.sleep(0.3)
        await asyncio.to_thread(server.daemon.restart)
        await other.send([Outgoing(b"x")])
        assert await asyncio.wait_for(waiting, 20) == [b"x"]
        await place.close()


async def test_a_receipt_of_a_lost_message_ends_no_other_lease(place: Place) -> None:
    """A standby that had not received the last messages is promoted, or a backup is restored: their ids return."""
    queue, other = place.open(), place.open()
    await queue.send([Outgoing(b"first")])
    forget = "DELETE FROM skyferry.message; ALTER TABLE skyferry.message ALTER id RESTART"
    for receiver in (queue, other):
        place.server.run(forget, place.database)
        await queue.send([Outgoing(b"lost")])
        (old,) = await queue.receive(1, 0)
        place.server.run(forget, place.database)
        assert await queue.send([Outgoing(b"new")]) == [old.id]
        (new,) = await receiver.receive(1, 0)
        assert (new.id, new.attempt) == (old.id, old.attempt)
        assert await queue.extend([old]) == [old]
        await queue.release([old], 0)
        await queue.ack([old])
        assert await receiver.extend([new]) == []
        await receiver.release([new], 0)


async def test_a_rotated_password_is_read_again(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its file, when a connection is made, and at once where the server refuses the old one."""
    monkeypatch.setattr(files, "PAUSE", 0.0)
    run = place.server.run
    role = f"role_{place.database}"
    run(f"CREATE ROLE {role} LOGIN PASSWORD 'first'; GRANT CREATE ON DATABASE {place.database} TO {role}")
    path = tmp_path / "password"
    path.write_text("first\n")
    settings = IdentitySettings(kind="static", secret_file=path)
    password = server_secret(settings, IdentityContext("pg", SystemClock(), {}), "PGPASSWORD")
    queue = place.open(password, role)
    await queue.send([Outgoing(b"x")])
    path.write_text("second\n")
    run(
        f"ALTER ROLE {role} PASSWORD 'second'; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'"
    )
    await asyncio.sleep(0.1)
    assert [message.body for message in await queue.receive(1, 0)] == [b"x"]
    await password.close()


async def test_a_password_that_stays_wrong_is_named_each_time(place: Place, tmp_path: Path) -> None:
    """By the server's refusal."""
    path = tmp_path / "password"
    path.write_text("wrong\n")
    settings = IdentitySettings(kind="static", secret_file=path)
    password = server_secret(settings, IdentityContext("pg", SystemClock(), {}), "PGPASSWORD")
    queue = place.open(password)
    for _ in range(3):
        with pytest.raises(QueueError, match="password authentication failed"):
            await queue.depth()
    await password.close()


async def test_a_stricter_isolation_of_the_database_fails_no_call(place: Place) -> None:
    """Workers abort each other's statements there, and repeat them."""
    default = "SET default_transaction_isolation = 'repeatable read'"
    place.server.run(f"ALTER DATABASE {place.database} {default}")
    await place.open().send([Outgoing(b"%d" % number) for number in range(400)])
    queues = [place.open() for _ in range(8)]

    async def drain(queue: PostgresQueue) -> list[bytes]:
        bodies = []
        while messages := await queue.receive(2, 0):
            bodies += [message.body for message in messages]
            await queue.extend(messages)
            await queue.ack(messages)
        return bodies

    found = [body for bodies in await asyncio.gather(*map(drain, queues)) for body in bodies]
    assert sorted(map(int, found)) == list(range(400))


async def test_waiting_costs_two_statements(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look, and the time of the next delayed message; then notifications wake it, over any number of calls."""
    queue = place.open()
    await queue.receive(1, 0.2)
    await asyncio.sleep(0.2)  # it listens
    calls = 0
    run = queue._pool.run

    async def counted(call: Any) -> Any:
        nonlocal calls
        calls += 1
        return await run(call)

    monkeypatch.setattr(queue._pool, "run", counted)
    for _ in range(10):
        assert await queue.receive(1, 0.25) == []
    assert calls <= 3
    await place.open().send([Outgoing(b"x", delay=0.5)])
    assert await receive_bodies(queue) == [b"x"]


@pytest.fixture
def rare_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notification that is missed is missed for ever."""
    monkeypatch.setattr(queues, "LISTENING", 3600.0)
    monkeypatch.setattr(listener, "CHECK", 0.1)
    monkeypatch.setattr(listener, "PATIENCE", 0.5)


async def await_listening(queue: PostgresQueue) -> None:
    """Wait until it does not look again without a notification."""
    while not queue._listener.listening:
        assert await queue.receive(1, 0.01) == []
    assert await queue.receive(1, 0.1) == []


@pytest.mark.usefixtures("rare_looks")
async def test_a_connection_that_no_longer_brings_notifications_is_replaced(place: Place) -> None:
    """Such as one that a firewall has forgotten. Until then, the queue is polled."""
    queue = place.open()
    await await_listening(queue)
    find = "SELECT pid FROM pg_stat_activity WHERE starts_with(query, $1)"
    process: int = await queue._pool.run(lambda db: db.fetchval(find, f'LISTEN "{queue._channel}'))
    os.kill(process, signal.SIGSTOP)
    try:
        await place.open().send([Outgoing(b"x")])
        async with asyncio.timeout(60):
            assert await receive_bodies(queue) == [b"x"]
            await await_listening(queue)
    finally:
        os.kill(process, signal.SIGCONT)


@pytest.mark.usefixtures("rare_looks")
async def test_a_queue_is_polled_where_notifications_never_arrive(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pooler in transaction mode that is not named in the URL accepts LISTEN, and drops them."""

    async def drop(*_: object) -> None: ...

    monkeypatch.setattr(asyncpg.Connection, "add_listener", drop)
    queue = place.open()
    assert await queue.receive(1, 0.3) == []
    await place.open().send([Outgoing(b"x")])
    async with asyncio.timeout(60):
        assert await receive_bodies(queue) == [b"x"]


async def test_a_message_that_another_receiver_locked_and_left_is_found_soon(place: Place) -> None:
    """It locks up to twice as many as it takes. A receiver that waits meanwhile looks again."""
    queue, other = place.open(), place.open()
    await other.send([Outgoing(b"x")])
    connection = await other._pool.connect()
    try:
        async with connection.transaction():
            await connection.execute("SELECT FROM skyferry.message WHERE queue = 'events' FOR UPDATE")
            waiting = asyncio.create_task(receive_bodies(queue))
            while not queue._listener.listening:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.3)  # it has looked again, and waits
            assert not waiting.done()
        assert await asyncio.wait_for(waiting, 15) == [b"x"]
    finally:
        connection.terminate()


async def test_clients_make_the_schema_at_once(place: Place) -> None:
    """And messages with one dedup id, which they send at once, are one."""
    queues = [place.open() for _ in range(8)]
    ids = await asyncio.gather(*(queue.send([Outgoing(b"x", dedup_id="d")]) for queue in queues))
    assert len({one for [one] in ids}) == 1
    assert (await queues[0].depth()).ready == 1


async def test_queues_and_schemas_are_apart(place: Place) -> None:
    one = place.open()
    await one.send([Outgoing(b"x")])
    url = f"postgresql://{place.server.user}@{place.server.address}/{place.database}/events"
    for text in (f"{url}?schema=o'the\"r", f"{url}-2"):
        options = PoolOptions(parse_postgres(text, FORM, names=1, allow_plain=False))
        pool = PostgresPool("pg", options, fixed_credentials(place.server.password), QueueError)
        place.opened.append(PostgresQueue("pg", pool, "other", SystemClock()))
        assert await place.opened[-1].receive(1, 0) == []


async def test_a_newer_schema_is_refused(place: Place) -> None:
    await place.open().receive(1, 0)
    place.server.run("COMMENT ON TABLE skyferry.message IS 'skyferry queues 2'", place.database)
    with pytest.raises(QueueError, match="from version 2, and this Skyferry knows 1") as caught:
        await place.open().depth()
    assert "Update Skyferry" in caught.value.hint


async def test_what_is_wrong_is_named(place: Place) -> None:
    """With an instruction, and without the password."""
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({"password": fixed_credentials("wrong secret")}, "password authentication failed", "PGPASSWORD"),
        ({"database": "absent"}, "does not exist", "Create the database"),
        ({"address": "127.0.0.1:1"}, "cannot be reached", "Check that the server runs"),
    ]
    for arguments, said, hint in cases:
        with pytest.raises(QueueError, match=said) as caught:
            await place.open(**arguments).depth()
        assert hint in caught.value.hint
        assert str(arguments.get("address", place.server.address)) in str(caught.value)
        assert "wrong secret" not in str(caught.value)


async def test_a_role_without_rights_is_named(place: Place) -> None:
    role = f"poor_{place.database}"
    place.server.run(f"CREATE ROLE {role} LOGIN PASSWORD 'p'")
    poor = place.open(fixed_credentials("p"), role)
    with pytest.raises(QueueError, match="permission denied") as caught:
        await poor.receive(1, 0)
    assert "Grant" in caught.value.hint
    facts = await poor.inspect()
    assert facts.receives is False
    assert [wrong.what for wrong in facts.wrong] == [f"the role {role} may not create its tables in schema skyferry"]
    assert await poor.sends() is False
    place.server.run(f"CREATE SCHEMA skyferry AUTHORIZATION {role}", place.database)
    assert (await poor.inspect()).wrong == ()  # a schema that an administrator made for it
    assert await poor.sends() is True


async def test_rights_that_a_role_lacks_on_the_table_are_named(place: Place) -> None:
    """With the grant, by `doctor` and by each call."""
    await place.open().send([Outgoing(b"x")])
    role = f"reader_{place.database}"
    place.server.run(f"CREATE ROLE {role} LOGIN PASSWORD 'p'")
    place.server.run(
        f"GRANT USAGE ON SCHEMA skyferry TO {role}; GRANT SELECT ON skyferry.message TO {role}", place.database
    )
    reader = place.open(fixed_credentials("p"), role)
    assert (await reader.depth()).ready == 1
    (wrong,) = (await reader.inspect()).wrong
    assert wrong.what == f"the role {role} lacks UPDATE, DELETE on table message of schema skyferry"
    assert f'GRANT UPDATE, DELETE ON "skyferry"."message" TO "{role}"' in wrong.hint
    with pytest.raises(QueueError, match="lacks INSERT, UPDATE, DELETE on table message") as caught:
        await reader.receive(1, 0)
    assert "GRANT INSERT, UPDATE, DELETE" in caught.value.hint


async def test_the_inspection_names_user_and_server(place: Place) -> None:
    queue = place.open()
    await queue.depth()
    facts = await queue.inspect()
    assert (facts.who, facts.receives, facts.redrive, facts.wrong) == ("skyferry", True, None, ())
    assert await queue.sends() is True


async def test_a_standby_is_an_outage_until_it_is_promoted(place: Place) -> None:
    """Writes fail where the database only reads."""
    queue = place.open()
    await queue.send([Outgoing(b"x")])
    place.server.run(f"ALTER DATABASE {place.database} SET default_transaction_read_only = on")
    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{place.database}'"
    place.server.run(end)
    await asyncio.sleep(0.1)
    with pytest.raises(QueueError, match="read-only") as caught:
        await queue.receive(1, 0)
    assert "standby" in caught.value.hint
    place.server.run(f"ALTER DATABASE {place.database} RESET default_transaction_read_only")
    assert [message.attempt for message in await queue.receive(1, 0)] == [1]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://localhost/events", "lacks a name after the host"),
        ("postgresql://localhost/a/b/c", "names more than"),
        ("postgresql://u:secret@localhost/a/b", "must not contain a password"),
        ("postgresql://@localhost/a/b", "user name before @ is empty"),
        ("postgresql://localhost:x/a/b", "'x' is no port"),
        ("postgresql://::1/a/b", "put an IPv6 address into brackets"),
        ("postgresql:///a/b", "the name of a host is missing"),
        ("postgresql://db.example.org/a/b?sslmode=disable", "without TLS"),
        ("postgresql://db.example.org/a/b?sslmode=require", "accepts any server"),
        ("postgresql://localhost/a/b?sslmode=on", "none of disable"),
        ("postgresql://localhost/a/b?pooler=session", "use transaction"),
        ("postgresql://localhost/a/b?password=secret", "remove the secret"),
        ("postgresql://localhost/a/b?schema=", "is no name in PostgreSQL"),
    ],
)
def test_a_wrong_url_is_refused(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        resolve_queue(QueueSettings(name="q", url=url))
    assert "secret@" not in str(caught.value)


def test_a_url_has_hosts_and_verifies_them() -> None:
    address = parse_postgres("postgresql://u@a.example.org,[fd00::1]:6432/db/q", FORM, names=1, allow_plain=False)
    assert address.server.hosts == (("a.example.org", 5432), ("fd00::1", 6432))
    assert (address.sslmode, address.schema, address.server.user) == ("verify-full", "skyferry", "u")
