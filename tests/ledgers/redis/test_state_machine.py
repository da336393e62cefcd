"""The memory and the Redis ledger answer the same to any sequence of operations of two processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule
from tests.ledgers.redis.places import RedisHarness
from tests.ledgers.test_state_machine import LedgersAgree

from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.model import Claim, Progress
from skyferry.ports import Ledger, Settlement
from skyferry.testing.servers import RedisServer


class CountedFences:
    """A ledger whose fences, which come from the time, are counted as in memory: 1, 2, ..."""

    def __init__(self, ledger: Any, fences: list[int]) -> None:
        self._ledger, self._fences = ledger, fences

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def claim(self, transfers: Sequence[Any]) -> list[Any]:
        return [self._count(answer) for answer in await self._ledger.claim(transfers)]

    async def renew(self, claims: Sequence[Claim]) -> list[Any]:
        return [self._count(claim) for claim in await self._ledger.renew([self._invert(claim) for claim in claims])]

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        batch = [replace(s, claim=self._invert(s.claim)) for s in settlements]
        answers: list[bool] = await self._ledger.settle(batch)
        return answers

    async def save_progress(self, saves: Sequence[tuple[Claim, Progress]]) -> list[bool]:
        answers: list[bool] = await self._ledger.save_progress([(self._invert(c), p) for c, p in saves])
        return answers

    def _count(self, answer: Any) -> Any:
        if not isinstance(answer, Claim):
            return answer
        if answer.fence not in self._fences:
            assert answer.fence > max(self._fences, default=0)
            self._fences.append(answer.fence)
        return replace(answer, fence=self._fences.index(answer.fence) + 1)

    def _invert(self, claim: Claim) -> Claim:
        return replace(claim, fence=self._fences[claim.fence - 1])


class AgreeWithRedis(LedgersAgree):
    """Both have the time of one clock."""

    server: ClassVar[RedisServer]
    harness: RedisHarness | None = None
    fences: list[int] | None = None

    def _open(self, owner: str) -> tuple[Ledger, Ledger]:
        return MemoryLedger(owner, self.clock, 30.0, self.state), self.loop.run_until_complete(self._open_redis(owner))

    async def _open_redis(self, owner: str) -> Ledger:
        self.harness = self.harness or RedisHarness(self.server)
        await self.harness.set_time(self.clock.time())
        self.fences = [] if self.fences is None else self.fences
        return CountedFences(await self.harness.open(owner), self.fences)

    @rule(seconds=st.sampled_from([0.5, 8.0, 31.0]))
    def pass_time(self, seconds: float) -> None:
        super().pass_time(seconds)
        assert self.harness
        self.loop.run_until_complete(self.harness.set_time(self.clock.time()))

    @rule(noticed=st.booleans())
    def migrate(self, noticed: bool) -> None:
        """From now on done transfers are compressed by ledgers that are opened, and by the others once they notice."""
        assert self.harness
        self.loop.run_until_complete(self.harness.migrate())
        for ledger in self.harness.opened if noticed else ():
            if not ledger._db.closed:
                self.loop.run_until_complete(ledger.check_writable())

    def teardown(self) -> None:
        assert self.harness
        self.loop.run_until_complete(self.harness.close())
        super().teardown()


@pytest.fixture(scope="module", autouse=True)
def _server(redis_server: RedisServer) -> None:
    AgreeWithRedis.server = redis_server


TestAgreeWithRedis = AgreeWithRedis.TestCase
TestAgreeWithRedis.settings = settings(
    max_examples=15, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
