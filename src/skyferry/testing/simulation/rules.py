"""The six rules, watched from outside while a simulation runs and checked at its end. Every breach is a sentence."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

from skyferry.engine import abandoned_uploads as gc
from skyferry.engine.copy import provenance
from skyferry.errors import ObjectNotFound
from skyferry.model import ObjectMeta
from skyferry.ports import Clock, DeadLetter, Done, EventQueue, Filter, Ledger, Message, ObjectStore, Settlement
from skyferry.ports.decorators import FINISH_UPLOAD, WRITE, Operation, QueueDecorator, StoreDecorator


class Rules:
    """Collects what happened. `breaches` is empty as long as every rule holds."""

    def __init__(
        self, ledger: Ledger, source: ObjectStore, destination: ObjectStore, memory: int, clock: Clock
    ) -> None:
        self.breaches: list[str] = []
        self._ledger, self._source, self._destination = ledger, source, destination
        self._memory, self._clock = memory, clock
        self._done: Counter[str] = Counter()
        self._received: Counter[str] = Counter()  # by message id
        self._newest: dict[str, str] = {}  # destination key -> newest source position ever applied
        self._history: set[tuple[str, str]] = set()  # (source key, digest) of every version that ever was
        self.poison: dict[str, bytes] = {}  # message id -> a body that is no event
        self.expected: dict[str, list[str]] = {}  # message id -> ids of its transfers
        self.acked: set[str] = set()
        self.sent_on: set[tuple[str, float]] = set()  # deaths that the sink has: letter id and time

    def breach(self, rule: int, what: str) -> None:
        """Rule `rule` of docs/concepts/glossary.md was broken."""
        self.breaches.append(f"rule {rule}: {what}")

    # --- watched --------------------------------------------------------------------------------------------------

    def put_at_source(self, key: str, data: bytes) -> None:
        """A version came into being."""
        self._history.add((key, _sha(data)))

    async def acking(self, messages: Sequence[Message]) -> None:
        """Rule 1: at this moment every transfer of the message is settled, or in the dead letters."""
        for message in messages:
            for transfer_id in self.expected.get(message.id, []):
                row = await self._ledger.get_transfer(transfer_id)
                redriven = await self._ledger.get_dead_letter(transfer_id)  # then the ledger itself hands it out again
                if row is None or not (row.state.settled or redriven):
                    self.breach(
                        1, f"message {message.id} acked while {transfer_id} is {row.state if row else 'unknown'}"
                    )
            if message.id in self.poison:
                await self._check_letter(message)
            self.acked.add(message.id)

    async def _check_letter(self, message: Message) -> None:
        letters = (await self._ledger.list_dead_letters(Filter(), limit=1000)).items
        if not any(letter.body == message.body for letter in letters):
            self.breach(1, f"message {message.id} was no event and vanished")

    def settled(self, settlements: Sequence[Settlement], answers: Sequence[bool]) -> None:
        """Rule 2: one transfer id is done once."""
        for settlement, recorded in zip(settlements, answers, strict=True):
            if recorded and isinstance(settlement.outcome, Done):
                transfer = settlement.claim.transfer.id
                self._done[transfer] += 1
                if self._done[transfer] > 1:
                    self.breach(2, f"transfer {transfer} was settled done {self._done[transfer]} times")

    async def written(self, meta: ObjectMeta) -> None:
        """Rule 3: what lands at the destination is never older than what was there. Rule 4: it is a version, whole."""
        if (meta.key, _sha(await _content(self._destination, meta.key))) not in self._history:
            self.breach(4, f"{meta.key} held bytes that were never a version of it")
        position = provenance.read_provenance(meta).position
        value = position.value if position else ""
        if value < self._newest.get(meta.key, ""):
            self.breach(3, f"{meta.key}: {value} came after {self._newest[meta.key]}")
        self._newest[meta.key] = max(value, self._newest.get(meta.key, ""))

    def received(self, messages: Sequence[Message]) -> None:
        """Rule 6: how often each was received is what the providers' own dead-letter queues count."""
        for message in messages:
            self._received[message.id] = max(message.attempt, self._received[message.id])

    def received_once(self, plan: Any) -> None:
        """Where no worker died or stood still and no call of the queue failed, all that waits does so in hand."""
        weather = plan.weather
        if plan.crashes or plan.freezes or plan.clock_steps or weather.stall or weather.fail:
            return
        for name, count in self._received.items():
            if count > 1:
                self.breach(6, f"message {name} was received {count} times")

    # --- at the end -----------------------------------------------------------------------------------------------

    async def at_the_end(self, sent: Sequence[str], peak: int, allowed_dead: frozenset[str]) -> list[str]:
        """All breaches. `sent` are message ids; `allowed_dead` the source keys that were made impossible."""
        for message_id in sent:
            if message_id not in self.acked:
                self.breach(1, f"message {message_id} was never acked")
        await self._same_everywhere(allowed_dead)
        letters: list[DeadLetter] = (await self._ledger.list_dead_letters(Filter(), limit=1000)).items
        for letter in letters:
            if letter.route and letter.key not in allowed_dead:
                self.breach(6, f"{letter.key} is a dead letter: {letter.reason} {letter.message}")
            if letter.redriven_at is None and (letter.id, letter.at) not in self.sent_on:
                self.breach(1, f"dead letter {letter.id} was never sent on")
        bodies = {letter.body for letter in letters}
        for body in self.poison.values():
            if body not in bodies:
                self.breach(1, f"no dead letter holds {body!r}")
        await self._no_uploads_left()
        if peak > self._memory:
            self.breach(5, f"{peak} bytes of object data in memory, {self._memory} allowed")
        return self.breaches

    async def _no_uploads_left(self) -> None:
        """What the workers left behind is found; they left nothing but what the ledger or the store knows to be ours."""
        stores = {"destination": self._destination}
        await gc.abort_abandoned_uploads(self._ledger, stores, 0.0, self._clock)
        left = [upload.key async for upload in self._destination.uploads()]
        left += [progress.upload.key async for progress in self._ledger.list_uploads()]
        for key in left:
            self.breach(5, f"an upload to {key} is left")

    async def _same_everywhere(self, allowed_dead: frozenset[str]) -> None:
        source = {meta.key: await _content(self._source, meta.key) async for meta in self._source.list()}
        found = {meta.key: await _content(self._destination, meta.key) async for meta in self._destination.list()}
        for key in sorted(source.keys() | found.keys()):
            if key in allowed_dead:
                continue
            if key not in found:
                self.breach(1, f"{key} is missing at the destination")
            elif (key, _sha(found[key])) not in self._history:
                self.breach(4, f"{key} holds bytes that were never a version of it")
            elif key not in source:
                self.breach(3, f"{key} was deleted at the source and is still at the destination")
            elif found[key] != source[key]:
                self.breach(3, f"{key} holds an old version")


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def _content(store: ObjectStore, key: str) -> bytes:
    try:
        return (await store.read(key, 0, 2**40)).data
    except ObjectNotFound:  # it was listed and then deleted: not at the end of a simulation
        return b""


class WatchedPort:
    """A port whose calls the rules see. Everything else passes through."""

    def __init__(self, port: Any, rules: Rules) -> None:
        self._port, self._rules = port, rules

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)


class WatchedQueue(QueueDecorator):
    """An EventQueue."""

    def __init__(self, inner: EventQueue, rules: Rules) -> None:
        super().__init__(inner)
        self._rules = rules

    async def receive(self, limit: int, wait: float) -> list[Message]:
        messages = await self.inner.receive(limit, wait)
        self._rules.received(messages)
        return messages

    async def ack(self, messages: Sequence[Message]) -> None:
        await self._rules.acking(messages)
        await self.inner.ack(messages)


class WatchedSink(WatchedPort):
    """A DeadLetterSink."""

    async def publish(self, letters: Sequence[DeadLetter]) -> None:
        await self._port.publish(letters)
        self._rules.sent_on.update((letter.id, letter.at) for letter in letters)


class WatchedLedger(WatchedPort):
    """A Ledger."""

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        answers: list[bool] = await self._port.settle(settlements)
        self._rules.settled(settlements, answers)
        return answers


class WatchedDestination(StoreDecorator):
    """An ObjectStore that objects are copied to."""

    def __init__(self, inner: ObjectStore, rules: Rules) -> None:
        super().__init__(inner)
        self._rules = rules

    async def _request(self, operation: Operation, key: str, size: int, call: Any, *args: Any) -> Any:
        answer = await call(*args)
        if operation in (WRITE, FINISH_UPLOAD):
            await self._rules.written(await self.inner.head(key))
        return answer
