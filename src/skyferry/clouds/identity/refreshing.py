"""Refresh credentials before they expire, or when a service calls them expired; one refresh serves all waiting callers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import field
from typing import Generic, TypeVar

from skyferry.errors import ConfigError, IdentityRefused, InternalError, SkyferryError, StoreTimeout
from skyferry.frozen import dataclass
from skyferry.ports import Clock
from skyferry.retry import Backoff

T = TypeVar("T")

# Seconds before the end in which a new one is fetched. Less than the 4 minutes for which Google's metadata server, and
# the 5 for which Azure's SDK, would answer with the same token again.
AHEAD = 225.0
QUICK = (
    3  # refreshes of credentials younger than LEAST before the next ones wait: a service that rejects all has a reason
)
LEAST = 30.0  # seconds of use of new credentials, whatever this machine's clock says about their expiry
LONGEST = 120.0  # seconds for one refresh: a hanging SDK or disk must not block all callers


@dataclass(frozen=True, slots=True)
class IssuedCredentials(Generic[T]):
    """Credentials as they were issued."""

    value: T = field(repr=False)
    name: str = field(repr=False)  # compared with `stale`
    expires: float = float("inf")  # seconds since 1970
    life: float = float("inf")  # seconds; whichever ends first


Obtain = Callable[[], Awaitable[IssuedCredentials[T]]]


class RefreshingCredentials(Generic[T]):
    """A `CredentialsProvider` that refreshes the credentials of `obtain`.

    While refreshes fail, the old credentials are used until they expire, and retries back off exponentially. Callers that cannot
    use the old ones get the error, with the time of the next retry. Close it after the last call.
    """

    def __init__(
        self,
        name: str,
        obtain: Obtain[T],
        clock: Clock,
        *,
        backoff: Backoff = Backoff(),  # noqa: B008 - frozen
        longest: float = LONGEST,
        failed: Callable[[SkyferryError], None] = lambda error: None,
        outdated: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        """`name` is for errors. `failed` is called with the error of each failed refresh, also in the background.

        While `outdated` is true, credentials are obtained again: their file has changed.
        """
        self.name = name
        self._obtain, self._clock, self._backoff, self._failed = obtain, clock, backoff, failed
        self._longest, self._outdated = longest, outdated
        self._held: IssuedCredentials[T] | None = None
        self._due = 0.0  # seconds since 1970, when to renew what is held
        self._failure: SkyferryError | None = None
        self._failures = 0  # in a row
        self._wait_until = 0.0  # monotonic seconds, before which it is not tried again
        self._given_at = float("-inf")  # monotonic seconds
        self._quick = 0  # renewals in a row of credentials that served no longer than LEAST
        self._renewal: asyncio.Task[None] | None = None
        self._may_stay = False  # the renewal under way may give what is held: its file was touched

    async def __call__(self, *, stale: str = "") -> T:
        """See `CredentialsProvider`."""
        if self._usable(stale) is None:
            await self._renewed()
        elif self._outdated is not None and await self._outdated():
            self._may_stay = True
            await self._renewed()
        held = self._usable(stale)
        if held is None:
            raise self._why()
        if self._clock.time() >= self._due:
            self._begin()  # in the background
        return held.value

    async def close(self) -> None:
        """Cancel a running refresh. Idempotent."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.wait({self._renewal})

    def _usable(self, stale: str) -> IssuedCredentials[T] | None:
        held = self._held
        return held if held is not None and held.name != stale and self._clock.time() < held.expires else None

    async def _renewed(self) -> None:
        """Wait for the running refresh, or start one. Cancelling the wait does not cancel the refresh."""
        renewal = self._begin()
        if renewal is not None:
            await asyncio.wait({renewal})

    def _begin(self) -> asyncio.Task[None] | None:
        """Return the running refresh, or start one; None while the back-off lasts."""
        if self._renewal is None and self._clock.monotonic() >= self._wait_until:
            self._renewal = asyncio.create_task(self._renew(), name=f"identity {self.name}")
        return self._renewal

    async def _renew(self) -> None:
        try:
            async with asyncio.timeout(self._longest):
                fresh = await self._obtain()
        except TimeoutError:
            self._put_off(StoreTimeout(f"no credential within {self._longest:g} s", where=self.name))
        except (
            ConfigError
        ) as error:  # the file of a secret is mounted late or being replaced: not the fault of an object
            self._put_off(IdentityRefused(error.message, where=error.where, hint=error.hint))
        except SkyferryError as error:
            self._put_off(error)
        except Exception as bug:  # noqa: BLE001 - a bug here or in an SDK must reach the callers
            self._put_off(InternalError(f"{type(bug).__name__} while a credential was renewed", where=self.name))
        else:
            self._keep(fresh)
        finally:
            self._renewal, self._may_stay = None, False

    def _keep(self, fresh: IssuedCredentials[T]) -> None:
        now = self._clock.time()
        end = min(fresh.expires, now + fresh.life)
        if self._held is not None and fresh.value == self._held.value and end <= self._held.expires:
            if not self._may_stay:
                self._put_off(IdentityRefused("the same credentials were issued again", where=self.name))
            return
        life = max(end - now, LEAST)
        self._held = IssuedCredentials(fresh.value, fresh.name, now + life)
        self._due = now + life - min(AHEAD, life / 4)
        self._failure, self._failures = None, 0
        self._pace()

    def _pace(self) -> None:
        """Back off if a service calls everything expired, so that not every request causes a refresh."""
        given_at = self._clock.monotonic()
        self._quick = self._quick + 1 if given_at - self._given_at < LEAST else 0
        self._given_at = given_at
        if self._quick >= QUICK:
            self._wait_until = given_at + self._backoff.delay(self._quick, random.random())  # noqa: S311 - jitter

    def _put_off(self, error: SkyferryError) -> None:
        self._failures += 1
        delay = self._backoff.delay(self._failures, random.random(), error.retry_after)  # noqa: S311 - jitter
        self._wait_until = self._clock.monotonic() + delay
        self._failure = error
        self._failed(error)

    def _why(self) -> SkyferryError:
        """Return the last error, for a caller."""
        wait = max(self._wait_until - self._clock.monotonic(), 0.0)
        if self._failure is None:
            said, hint = "the service rejects all credentials", "Check the clock of this machine."
            return IdentityRefused(said, where=self.name, hint=hint, retry_after=wait)
        error = self._failure
        copy = type(error)(error.message, where=error.where or self.name, hint=error.hint, retry_after=wait)
        copy.__cause__ = error.__cause__
        return copy
