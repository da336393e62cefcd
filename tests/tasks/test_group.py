"""Failures in a group leave the waiting task as it was, on every Python."""

from __future__ import annotations

import asyncio

import pytest

from skyferry.tasks.group import TaskGroup


async def fail(after: float) -> None:
    await asyncio.sleep(after)
    raise ValueError


def count_requests() -> int:
    """Return the requests to cancel this task."""
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


@pytest.mark.parametrize("more", [0.0, 0.01, 10.0])
async def test_a_failure_while_the_group_is_left_leaves_no_request(more: float) -> None:
    async def work() -> None:
        async with TaskGroup() as group:
            group.create_task(fail(0.0))
            group.create_task(fail(more))

    with pytest.raises(ExceptionGroup):
        await work()
    assert count_requests() == 0
    await asyncio.sleep(0)


async def test_a_failure_of_the_body_leaves_no_request() -> None:
    async def work() -> None:
        async with TaskGroup() as group:
            group.create_task(fail(10.0))
            await fail(0.0)

    with pytest.raises(ExceptionGroup) as raised:
        await work()
    assert [type(error) for error in raised.value.exceptions] == [ValueError]
    assert count_requests() == 0


async def test_the_results_of_all_tasks_are_there_after_it() -> None:
    async with TaskGroup() as group:
        first = group.create_task(asyncio.sleep(0.01, 1))
        group.create_task(asyncio.sleep(0)).add_done_callback(lambda _: late.append(group.create_task(fail_not())))
        late: list[asyncio.Task[int]] = []
    assert (first.result(), late[0].result()) == (1, 2)


async def fail_not() -> int:
    await asyncio.sleep(0.02)
    return 2


async def test_a_request_of_another_task_arrives() -> None:
    ended = list[str]()

    async def work() -> None:
        try:
            async with TaskGroup() as group:
                group.create_task(asyncio.sleep(10))
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    task = asyncio.create_task(work())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["cancelled"]
