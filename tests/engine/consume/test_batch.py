"""Batches of single calls."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from skyferry.engine.consume.batch import Batcher


async def test_posted_items_share_a_batch_with_those_that_are_waited_for() -> None:
    """Each result goes to its own item."""
    sent: list[list[int]] = []

    async def send(batch: Sequence[int]) -> list[int]:
        sent.append(list(batch))
        return [-item for item in batch]

    batcher = Batcher(send, 10, "test")
    batcher.post(1)
    answer = batcher.put(2)
    batcher.post(3)
    assert await answer == -2
    await batcher.drained()
    assert sent == [[1, 2, 3]]


async def test_a_failed_batch_does_not_stop_the_next_posted_item() -> None:
    """The caller that waits gets the error."""
    sent: list[list[int]] = []

    async def send(batch: Sequence[int]) -> list[int]:
        sent.append(list(batch))
        if len(sent) == 1:
            raise ValueError("first")
        return [0] * len(batch)

    batcher = Batcher(send, 2, "test")
    batcher.post(1)
    answer = batcher.put(2)
    batcher.post(3)
    with pytest.raises(ValueError, match="first"):
        await answer
    await batcher.drained()
    assert sent == [[1, 2], [3]]
