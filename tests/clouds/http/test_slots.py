"""Requests are limited, and a request that is cancelled loses no slot."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from skyferry.clouds.http.slots import RequestSlots


@settings(max_examples=50)
@given(st.integers(1, 3), st.lists(st.sampled_from(["end", "cancel", "end and cancel"]), max_size=12))
def test_no_slot_is_lost_and_none_is_used_twice(size: int, steps: list[str]) -> None:
    """`end and cancel` ends a request, and cancels the one that is granted its slot before it can use it."""

    async def check() -> None:
        slots, used, order = RequestSlots(size), set[int](), list[int]()
        ends = [asyncio.Event() for _ in range(12)]

        async def request(number: int) -> None:
            if not slots.take():
                await slots.wait()
            try:
                used.add(number)
                order.append(number)
                assert len(used) <= size
                await ends[number].wait()
            finally:
                used.discard(number)
                slots.give_back()

        tasks = [asyncio.create_task(request(number)) for number in range(12)]
        await asyncio.sleep(0)
        for step in steps:
            waiting = [number for number, task in enumerate(tasks) if not task.done() and number not in used]
            if "end" in step and used:
                ends[min(used)].set()
                await asyncio.sleep(0)  # it gives its slot back
            if "cancel" in step and waiting:
                tasks[waiting[0]].cancel()
            await asyncio.sleep(0)
        for end in ends:
            end.set()
        for _ in range(100):  # turns, not seconds: with a lost slot some would never end
            await asyncio.sleep(0)
        lost = [task.cancel() for task in tasks if not task.done()]
        await asyncio.wait(tasks)
        assert not lost
        assert order == sorted(order)
        assert sum(slots.take() for _ in range(20)) == size

    asyncio.run(check())
