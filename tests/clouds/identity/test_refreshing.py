"""One credential for all who ask: cached, renewed ahead, renewed when it is called expired, and never twice at once."""

from __future__ import annotations

import asyncio

import pytest

from skyferry.clouds.identity.refreshing import AHEAD, IssuedCredentials, RefreshingCredentials
from skyferry.errors import ConfigError, ConnectionLost, IdentityRefused, InternalError, SkyferryError, StoreTimeout
from skyferry.retry import Backoff
from skyferry.testing.clock import ManualClock

LIFE = 3600.0  # seconds


class Giver:
    """Gives token-1, token-2, ... when it is let, or fails as it is told."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock, self.given, self.asked = clock, 0, 0
        self.open = asyncio.Event()
        self.open.set()
        self.errors: list[Exception] = []

    async def __call__(self) -> IssuedCredentials[str]:
        self.asked += 1
        await self.open.wait()
        if self.errors:
            raise self.errors.pop(0)
        self.given += 1
        return IssuedCredentials(f"token-{self.given}", f"token-{self.given}", self.clock.time() + LIFE)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def giver(clock: ManualClock) -> Giver:
    return Giver(clock)


def renewing(giver: Giver, heard: list[SkyferryError] | None = None) -> RefreshingCredentials[str]:
    failed = (heard if heard is not None else []).append
    return RefreshingCredentials("store", giver, giver.clock, backoff=Backoff(0.0, 0.0), failed=failed)


async def test_it_is_asked_for_once_and_then_kept(giver: Giver) -> None:
    provider = renewing(giver)
    assert [await provider() for _ in range(5)] == ["token-1"] * 5
    assert giver.asked == 1


async def test_a_hundred_waiters_cost_one_renewal(giver: Giver) -> None:
    provider = renewing(giver)
    giver.open.clear()
    waiters = [asyncio.create_task(provider()) for _ in range(100)]
    await asyncio.sleep(0)
    giver.open.set()
    assert set(await asyncio.gather(*waiters)) == {"token-1"}
    assert giver.asked == 1


async def test_a_hundred_requests_with_an_expired_token_cost_one_renewal_even_if_late(giver: Giver) -> None:
    provider = renewing(giver)
    await provider()
    assert set(await asyncio.gather(*(provider(stale="token-1") for _ in range(100)))) == {"token-2"}
    assert await provider(stale="token-1") == "token-2"  # its request was on its way meanwhile
    assert giver.asked == 2


async def test_a_waiter_that_is_cancelled_takes_nothing_from_the_others(giver: Giver) -> None:
    provider = renewing(giver)
    giver.open.clear()
    first, second = asyncio.create_task(provider()), asyncio.create_task(provider())
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    giver.open.set()
    assert await second == "token-1"
    assert giver.asked == 1


async def test_it_is_renewed_before_expiry_without_delaying_requests(giver: Giver, clock: ManualClock) -> None:
    provider = renewing(giver)
    await provider()
    await clock.advance(LIFE - AHEAD - 1)
    assert await provider() == "token-1"
    assert giver.asked == 1
    await clock.advance(1)
    giver.open.clear()
    assert await provider() == "token-1"  # at once, though the renewal hangs
    giver.open.set()
    await clock.advance(0)
    assert await provider() == "token-2"
    assert giver.asked == 2


async def test_what_has_ended_is_never_given(giver: Giver, clock: ManualClock) -> None:
    provider = renewing(giver)
    await provider()
    await clock.advance(LIFE)
    assert await provider() == "token-2"


async def test_while_renewals_fail_the_old_one_serves_to_its_very_end(giver: Giver, clock: ManualClock) -> None:
    heard: list[SkyferryError] = []
    provider = renewing(giver, heard)
    await provider()
    await clock.advance(LIFE - AHEAD)
    giver.errors = [StoreTimeout(), IdentityRefused(), StoreTimeout()]
    for _ in range(2):
        assert await provider() == "token-1"
        await clock.advance(0)
    assert len(heard) == 2  # also of renewals nobody waits for
    await clock.advance(AHEAD)
    with pytest.raises(StoreTimeout, match="store"):
        await provider()
    assert await provider() == "token-2"


async def test_a_service_that_fails_is_not_asked_again_before_its_time(giver: Giver, clock: ManualClock) -> None:
    provider = renewing(giver)
    giver.errors = [ConnectionLost("down", hint="look", retry_after=30.0)]
    with pytest.raises(ConnectionLost):
        await provider()
    await clock.advance(10)
    with pytest.raises(ConnectionLost, match="down") as caught:
        await provider()
    assert (caught.value.retry_after, caught.value.hint, giver.asked) == (20.0, "look", 1)
    await clock.advance(20)
    assert await provider() == "token-1"


async def test_an_expired_token_from_the_source_is_an_error(giver: Giver) -> None:
    provider = renewing(giver)
    await provider()
    giver.given = 0  # a metadata server that caches
    with pytest.raises(IdentityRefused, match="same credential"):
        await provider(stale="token-1")


async def test_a_service_that_refuses_everything_does_not_cost_a_renewal_with_each_request(giver: Giver) -> None:
    provider = RefreshingCredentials("store", giver, giver.clock, backoff=Backoff(60.0, 60.0))
    refused, token = [], await provider()
    for _ in range(100):
        try:
            token = await provider(stale=token)
        except IdentityRefused as error:
            refused.append(error)
    assert (giver.asked, len(refused)) == (4, 97)
    assert all("all credentials" in str(error) and error.retry_after for error in refused)
    await giver.clock.advance(60)
    assert await provider(stale=token) == "token-5"


async def test_a_clock_that_is_wrong_does_not_turn_every_request_into_a_renewal(clock: ManualClock) -> None:
    asked = 0

    async def ended() -> IssuedCredentials[str]:
        nonlocal asked
        asked += 1
        return IssuedCredentials(f"token-{asked}", f"token-{asked}", clock.time() - 7200)

    provider = RefreshingCredentials("store", ended, clock)
    assert [await provider() for _ in range(10)] == ["token-1"] * 10
    assert asked == 1


async def test_a_renewal_that_hangs_is_given_up_and_tried_again(giver: Giver) -> None:
    """Those who wait are told, and the next one is served."""
    provider = RefreshingCredentials("store", giver, giver.clock, backoff=Backoff(0.0, 0.0), longest=0.01)
    giver.open.clear()
    with pytest.raises(StoreTimeout):
        await provider()
    giver.open.set()
    assert await provider() == "token-1"


async def test_a_file_that_is_missing_for_a_while_is_an_outage(giver: Giver, clock: ManualClock) -> None:
    """Before the first credential, and later while it is replaced: no object is to blame, so their work waits."""
    provider = renewing(giver)
    for stale, token in (("", "token-1"), ("token-1", "token-2")):
        giver.errors = [ConfigError("cannot be read")]
        with pytest.raises(IdentityRefused, match="cannot be read"):
            await provider(stale=stale)
        giver.errors.clear()
        await clock.advance(60)
        assert await provider(stale=stale) == token


async def test_a_bug_is_raised_in_all_waiting_requests(giver: Giver) -> None:
    giver.errors = [ZeroDivisionError("secret")]
    with pytest.raises(InternalError, match="ZeroDivisionError") as caught:
        await renewing(giver)()
    assert "secret" not in str(caught.value)


async def test_closing_ends_a_renewal_under_way(giver: Giver, clock: ManualClock) -> None:
    provider = renewing(giver)
    await provider()
    await clock.advance(LIFE - AHEAD)
    giver.open.clear()
    await provider()
    await clock.advance(0)
    await provider.close()
    await provider.close()
    assert giver.asked == 2
    assert not [task for task in asyncio.all_tasks() if "identity" in task.get_name()]


def test_no_secret_is_in_a_repr() -> None:
    assert "token-1" not in repr(IssuedCredentials("token-1", "token-1"))
