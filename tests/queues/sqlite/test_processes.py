"""Several processes on one queue file, some of which die. Leases are an hour long: what comes again, comes for another reason."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest

from skyferry.clock import SystemClock
from skyferry.ports import Outgoing
from skyferry.queues.sqlite.queue import SqliteQueue

CONSUMER = Path(__file__).with_name("consumer.py")
SENT = [b"%d" % number for number in range(2000)]


async def start(path: Path, owner: str, what: str, says: bytes) -> Process:
    """A process on the queue that has opened it and said something."""
    command = (sys.executable, str(CONSUMER), str(path), owner, what)
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    assert process.stdout is not None
    assert (await process.stdout.readline()).strip() == says
    return process


async def start_workers(path: Path, count: int) -> list[Process]:
    """Processes that work until the queue is empty."""
    return [await start(path, f"worker-{number}", "work", b"at work") for number in range(count)]


async def kill(process: Process) -> bytes:
    """With SIGKILL; what else it had printed."""
    process.kill()
    output, _ = await process.communicate()
    return output


def opened(path: Path, owner: str = "test") -> SqliteQueue:
    """The queue, here."""
    return SqliteQueue(path, "shared", owner, SystemClock(), lease=3600)


async def fill(path: Path) -> None:
    """2,000 messages."""
    queue = opened(path)
    await queue.send([Outgoing(body) for body in SENT])
    await queue.close()


async def outputs(processes: list[Process]) -> list[bytes]:
    """What each printed, in the end."""
    async with asyncio.timeout(60):
        return [output for output, _ in await asyncio.gather(*(process.communicate() for process in processes))]


async def test_several_may_create_a_file_at_once(tmp_path: Path) -> None:
    """One file after the other: each process says where it is, and all go on together."""
    creators = [await start(tmp_path, f"worker-{number}", "create", b"0") for number in range(4)]
    for number in range(1, 50):
        for process in creators:
            assert process.stdin is not None
            process.stdin.write(b"\n")
        for process in creators:
            assert process.stdout is not None
            assert (await process.stdout.readline()).strip() == b"%d" % number
    for process in creators:
        await kill(process)


async def test_each_message_is_acked_by_one_process(tmp_path: Path) -> None:
    """Four processes, 2,000 messages: each is acked exactly once."""
    path = tmp_path / "queue.db"
    await fill(path)
    acked = await outputs(await start_workers(path, 4))
    assert sorted(b"".join(acked).split()) == sorted(SENT)


async def test_what_a_killed_process_held_comes_to_the_others(tmp_path: Path) -> None:
    """At once, not when the lease ends; nothing is lost."""
    path = tmp_path / "queue.db"
    await fill(path)
    victim = await start(path, "victim", "hold", b"100")
    others = await start_workers(path, 3)
    await kill(victim)
    assert sorted(b"".join(await outputs(others)).split()) == sorted(SENT)


@pytest.mark.parametrize("successor", ["victim", "another"])
async def test_a_successor_need_not_wait_for_leases(tmp_path: Path, successor: str) -> None:
    """Whoever opens the file after a death, under the same name or another, has the messages at the first receive."""
    path = tmp_path / "queue.db"
    await fill(path)
    await kill(await start(path, "victim", "hold", b"100"))
    queue = opened(path, successor)
    batch = await queue.receive(2000, 0)
    await queue.close()
    assert sorted(m.body for m in batch) == sorted(SENT)
    assert sorted(m.attempt for m in batch) == [1] * 1900 + [2] * 100


async def test_every_acknowledged_send_survives_a_kill(tmp_path: Path) -> None:
    """What `send` returned is there after SIGKILL at any moment; and what is there can be received."""
    path = tmp_path / "queue.db"
    sender = await start(path, "sender", "send", b"1")
    assert sender.stdout is not None
    printed = [await sender.stdout.readline() for _ in range(100)]
    printed.append((await kill(sender)).rpartition(b"\n")[0])
    queue = opened(path)
    there = {message.id.encode() for message in await queue.receive(1_000_000, 0)}
    await queue.close()
    assert set(b"".join(printed).split()) <= there
