"""Choose the messages with which a store or ledger that was down is tried again, and pause receives meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from math import inf

from skyferry.engine.consume.in_flight import InFlight, LeasedMessage
from skyferry.engine.context import EngineContext
from skyferry.engine.resilience.circuit_breaker import Breaker, BreakerState, Circuit
from skyferry.model import Transfer
from skyferry.retry import Backoff

TURN = 1.0  # seconds between looks for more room, at most
HELD = 64  # messages that wait for a ledger that does not answer, at most, before no more are received
EARLY = 3  # times that a message is claimed again at an answer to others, at most: its own claim may be what fails


class Trials:
    """The circuits in the way of messages and routes.

    A store that was down is tried with one message at a time, and with those first that have not failed. If all in hand have,
    a new message is received for it. Otherwise objects that always fail could keep the others waiting.
    """

    def __init__(self, context: EngineContext, in_flight: InFlight) -> None:
        self._context, self._waiting = context, in_flight.waiting

    def find_circuits(self, transfer: Transfer) -> list[Circuit]:
        """Return the circuits that a transfer has to pass and that are not closed."""
        ends = (transfer.source_store, transfer.source.key), (transfer.store, transfer.key)
        breakers = self._context.breakers
        return [circuit for store, key in ends if store in breakers for circuit in breakers[store].find_troubled(key)]

    def pause(self) -> float:
        """Return the seconds for which nothing should be received: no route could be worked on."""
        return min(map(self._pause_route, self._context.routes), default=0.0)

    def start_look(self) -> Callable[[LeasedMessage], float]:
        """Return the function that gives the seconds for which a message still waits, for one look at the waiting room."""
        probed, fewest = set[Circuit](), dict[str, float]()

        def blocked(leased: LeasedMessage) -> float:
            ways = {route: self._find(waits.folders) for route, waits in leased.routes.items()}
            if (wait := min(map(_time_to_trial, ways.values()), default=0.0)) > 0:
                return wait * (1 + self._context.random.random() / 4)
            tried = {c: route for route, way in ways.items() for c in way if c.state is not BreakerState.CLOSED}
            for circuit, route in tried.items():
                if route not in fewest and isinstance(circuit, Breaker):
                    fewest[route] = self._fewest_failures(route)
            if any(circuit in probed or leased.uncounted > fewest.get(route, inf) for circuit, route in tried.items()):
                return TURN * (1 + self._context.random.random())
            probed.update(tried)
            return 0.0

        return blocked

    def _pause_route(self, name: str) -> float:
        route = self._context.routes[name]
        breakers = [b for s in {route.source_store, route.store} if (b := self._context.breakers.get(s))]
        wait = max((breaker.time_to_trial(asks=False) for breaker in breakers), default=0.0)
        if all(breaker.state is BreakerState.CLOSED for breaker in breakers):
            return wait
        if wait <= TURN and self._fewest_failures(name) > 0:
            return 0.0  # there is time to receive a message before the store is tried
        return max(wait, TURN)

    def _fewest_failures(self, route: str) -> float:
        return self._waiting.fewest_failures(route, self._context.clock.monotonic() + 2 * TURN)

    def _find(self, folders: Sequence[tuple[str, int]]) -> list[Circuit]:
        found: list[Circuit] = []
        for store, number in folders:
            if breaker := self._context.breakers.get(store):
                found.append(breaker)
                if folder := breaker.folder(number):
                    found.append(folder)
        return found


class LedgerOutage:
    """The time from the first claim that fails until the ledger answers one again.

    Meanwhile the messages that wait for the ledger ask it, each after its own back-off. At the first answer all of them are
    processed again. Other messages stay in their queues, for workers that reach the ledger.
    """

    def __init__(self, context: EngineContext, in_flight: InFlight, backoff: Backoff, changed: asyncio.Event) -> None:
        """`changed` is set when more may be received."""
        self._clock, self._random, self._backoff = context.clock, context.random, backoff
        self._waiting, self._changed = in_flight.waiting, changed
        self._failures = 0  # since the last answer
        self._until = 0.0  # monotonic seconds until which nothing is received

    def note_failure(self) -> None:
        """Note that the ledger did not answer."""
        self._failures += 1
        self._until = self._clock.monotonic() + self._backoff.delay(self._failures, self._random.random())

    def note_answer(self) -> None:
        """Note that the ledger answered. If this ends an outage, end the waits for it."""
        if self._failures:
            self._failures = 0
            early = [leased for leased in self._waiting if leased.for_ledger and leased.early < EARLY]
            for leased in early:
                leased.early += 1
            self._waiting.end_waits(early, self._clock.monotonic())
            self._changed.set()

    def limit(self, count: int) -> int:
        """Return how many of `count` messages may be received."""
        if not self._failures:
            return count
        return min(count, HELD - sum(leased.for_ledger for leased in self._waiting))

    def pause(self) -> float:
        """Return the seconds for which nothing should be received."""
        return max(0.0, self._until - self._clock.monotonic()) if self._failures else 0.0


def _time_to_trial(circuits: Sequence[Circuit]) -> float:
    return max((circuit.time_to_trial() for circuit in circuits), default=0.0)
