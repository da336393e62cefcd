"""The six rules, checked from outside during a simulation and after it. Every breach is a sentence."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import inf
from typing import Any

from skyferry.engine import abandoned_uploads as gc
from skyferry.engine.copy import provenance
from skyferry.engine.copy.verify import find_object
from skyferry.engine.resilience.circuit_breaker import LANDING
from skyferry.errors import MessageLost, ObjectNotFound
from skyferry.model import Claim, ObjectMeta, Transfer
from skyferry.ports import (
    Clock,
    DeadLetter,
    DeadLetterSink,
    Done,
    EventQueue,
    Filter,
    Ledger,
    Message,
    ObjectStore,
    Settled,
    Settlement,
    Wait,
)
from skyferry.ports.decorators import (
    FINISH_UPLOAD,
    SET_ATTRIBUTES,
    WRITE,
    WRITE_STREAM,
    Operation,
    QueueDecorator,
    StoreDecorator,
)
from skyferry.ports.letter_attributes import FOREIGN
from skyferry.testing.simulation.chaos import LATE
from skyferry.testing.simulation.ledgers import Forgotten

AHEAD = -2 * 3600.0  # seconds: an upload was begun or saved at a later time than now if the clock was set back since


class Rules:
    """A checker of the six rules. `breaches` is empty as long as none is broken."""

    def __init__(
        self, ledger: Ledger, source: ObjectStore, destination: ObjectStore, memory: int, clock: Clock
    ) -> None:
        self.breaches: list[str] = []
        self._ledger, self._source, self._destination = ledger, source, destination
        self._memory, self._clock = memory, clock
        self._done: Counter[str] = Counter()
        self._fences: dict[tuple[str, str], int] = {}  # the newest of each destination
        self._received: Counter[str] = Counter()  # by message id
        self._newest: dict[str, str] = {}  # destination key -> newest source position ever applied
        self._taken_over: dict[str, float] = {}  # the same -> loop seconds at which another worker last took it over
        self._history: set[tuple[str, str]] = set()  # (source key, digest) of every version that ever existed
        self.poison: dict[str, bytes] = {}  # message id -> a body that is not an event
        self.expected: dict[str, list[str]] = {}  # message id -> ids of its transfers
        self.acked: set[str] = set()
        self.forgotten = Forgotten()  # by the ledger
        self.lost: set[str] = set()  # transfers whose messages the queue has lost, by id
        self.sent_on: set[tuple[str, float]] = set()  # deaths that the sink received: letter id and time

    def breach(self, rule: int, what: str) -> None:
        """Record a breach of rule `rule` of docs/concepts/glossary.md."""
        self.breaches.append(f"rule {rule}: {what}")

    # --- during the run --------------------------------------------------------------------------------------------------

    def put_at_source(self, key: str, data: bytes) -> None:
        """Record a new version."""
        self._history.add((key, _sha(data)))

    async def acking(self, messages: Sequence[Message]) -> None:
        """Check rule 1: at this moment every transfer of the message is settled, or in the dead letters."""
        for message in messages:
            for transfer_id in self.expected.get(message.id, []):
                row = await self._ledger.get_transfer(transfer_id)
                if (row is not None and row.state.settled) or transfer_id in self.forgotten.transfers:
                    continue
                if (
                    row is None or await self._ledger.get_dead_letter(transfer_id) is None
                ):  # which would deliver it again
                    state = row.state if row else "unknown"
                    self.breach(1, f"message {message.id} acked while {transfer_id} is {state}")
            if message.id in self.poison:
                await self._check_letter(message)
            self.acked.add(message.id)

    async def _check_letter(self, message: Message) -> None:
        letters = (await self._ledger.list_dead_letters(Filter(), limit=1000)).items
        if not any(letter.body == message.body for letter in letters) and message.body not in self.forgotten.bodies:
            self.breach(1, f"message {message.id} was not an event and vanished")

    def claimed(self, answers: Sequence[Claim | Settled | Wait]) -> None:
        """Record the newest fence of each destination."""
        for answer in answers:
            if isinstance(answer, Claim):
                key = answer.transfer.store, answer.transfer.key
                self._fences[key] = max(answer.fence, self._fences.get(key, 0))
                if answer.taken_over:
                    self._taken_over[answer.transfer.key] = asyncio.get_running_loop().time()

    @contextmanager
    def forget_claims(self) -> Iterator[None]:
        """Forget the claims that are granted inside: the ledger loses them, and an older one may settle again."""
        fences = dict(self._fences)
        yield
        self._fences = fences

    def settled(self, settlements: Sequence[Settlement], answers: Sequence[bool]) -> None:
        """Check rule 2: one transfer id is done once. A claim that was lost, or that the ledger has forgotten, settles nothing."""
        for settlement, recorded in zip(settlements, answers, strict=True):
            claim = settlement.claim
            if recorded and claim.fence < self._fences.get((claim.transfer.store, claim.transfer.key), 0):
                self.breach(2, f"a claim of {claim.transfer.key} was settled after another worker had claimed it")
            if recorded and (claim.transfer.store, claim.transfer.key, claim.fence) in self.forgotten.claims:
                self.breach(2, f"a forgotten claim of {claim.transfer.key} was settled")
            if recorded and isinstance(settlement.outcome, Done):
                transfer = settlement.claim.transfer.id
                self._done[transfer] += 1
                if self._done[transfer] > 1 and transfer not in self.forgotten.transfers:
                    self.breach(2, f"transfer {transfer} was settled done {self._done[transfer]} times")

    async def written(self, meta: ObjectMeta, *, replaced: bool) -> None:
        """Check rules 3 and 4: a write at the destination is never older than its predecessor, and is a whole version.

        `replaced`: there was an object.
        """
        if (meta.key, _sha(await _content(self._destination, meta.key))) not in self._history:
            self.breach(4, f"{meta.key} contained bytes that were never a version of it")
        position = provenance.read_provenance(meta).position
        value = position.value if position else ""
        if value < self._newest.get(meta.key, "") and (replaced or not self._is_beyond_guards(meta.key)):
            self.breach(3, f"{meta.key}: {value} came after {self._newest[meta.key]}")
        self._newest[meta.key] = max(value, self._newest.get(meta.key, ""))

    def _is_beyond_guards(self, key: str) -> bool:
        """Return True for the one late write that no guard stops, where there is no object. It must be undone in the end.

        Its worker stood still with the request under way, until other workers need not wait for it any more.
        """
        return LATE.get() and asyncio.get_running_loop().time() > self._taken_over.get(key, inf) + LANDING

    def received(self, messages: Sequence[Message]) -> None:
        """Record attempts for rule 6: the providers' own dead-letter queues count the receipts of a message."""
        for message in messages:
            self._received[message.id] = max(message.attempt, self._received[message.id])

    def received_once(self, plan: Any) -> None:
        """Check rule 6: without crashes, freezes and failed calls, waiting messages stay leased and arrive once."""
        weather = plan.weather
        if plan.crashes or plan.freezes or plan.clock_steps or weather.stall or weather.fail:
            return
        for name, count in self._received.items():
            if count > 1:
                self.breach(6, f"message {name} was received {count} times")

    def check_tasks(self, tasks: Sequence[asyncio.Task[Any]]) -> None:
        """Check that no part of a worker has ended with an error."""
        for task in tasks:
            if task.done() and not task.cancelled() and (error := task.exception()):
                self.breach(1, f"the {task.get_name()} ended: {error!r}")

    # --- at the end -----------------------------------------------------------------------------------------------

    async def at_the_end(self, sent: Sequence[str], peak: int, allowed_dead: frozenset[str]) -> list[str]:
        """Check the final state and return all breaches.

        `sent` are message ids; `allowed_dead` are source keys that the destination refuses.
        """
        for message_id in sent:
            if message_id not in self.acked:
                self.breach(1, f"message {message_id} was never acked")
        await self._same_everywhere(allowed_dead)
        letters: list[DeadLetter] = (await self._ledger.list_dead_letters(Filter(), limit=1000)).items
        for letter in letters:
            if letter.route and letter.key not in allowed_dead:
                self.breach(6, f"{letter.key} is a dead letter: {letter.reason} {letter.message}")
            if self._is_unpublished(letter):
                self.breach(1, f"dead letter {letter.id} was never sent on")
        bodies = {letter.body for letter in letters} | self.forgotten.bodies
        for body in self.poison.values():
            if body not in bodies:
                self.breach(1, f"no dead letter has the body {body!r}")
        await self._no_uploads_left()
        if peak > self._memory:
            self.breach(5, f"{peak} bytes of object data in memory, {self._memory} allowed")
        return list(self.breaches)  # what happens after the end does not count

    async def has_unpublished_letters(self) -> bool:
        """Return True if the sink has not received a letter yet."""
        return any(map(self._is_unpublished, (await self._ledger.list_dead_letters(Filter(), limit=1000)).items))

    async def has_unsettled_transfers(self) -> bool:
        """Return True if a message, a redriven letter or the recovery of lost messages must still settle a transfer."""
        counts = await self._ledger.count_transfers()
        if any(count for state, count in counts.items() if not state.settled) or await self._ledger.count_redriven():
            return True
        letters = (await self._ledger.list_dead_letters(Filter(reason=MessageLost.kind), limit=1000)).items
        return any(letter.redriven_at is None for letter in letters)

    def _is_unpublished(self, letter: DeadLetter) -> bool:
        """Return True if it still has to reach the sink. One whose message carried a forgotten letter is that letter again."""
        published = (letter.id, letter.at) in self.sent_on or letter.id in self.forgotten.letters
        returned = dict(letter.attributes).get(FOREIGN) in self.forgotten.letters
        return letter.redriven_at is None and not published and not returned

    async def _no_uploads_left(self) -> None:
        """Check that garbage collection finds every abandoned upload, by the ledger or the store."""
        stores = {"destination": self._destination}
        await gc.abort_abandoned_uploads(self._ledger, stores, AHEAD, self._clock)
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
                self.breach(4, f"{key} contains bytes that were never a version of it")
            elif key not in source:
                self.breach(3, f"{key} was deleted at the source and is still at the destination")
            elif found[key] != source[key]:
                self.breach(3, f"{key} has an old version")
            elif await _carried(self._source, key) != await _carried(self._destination, key):
                self.breach(3, f"{key} carries what an old version did")


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def _carried(store: ObjectStore, key: str) -> tuple[str, dict[str, str]]:
    attributes = (await store.head(key)).attributes
    return attributes.metadata.get("mark", ""), dict(attributes.tags)


async def _content(store: ObjectStore, key: str) -> bytes:
    try:
        return (await store.read(key, 0, 2**40)).data
    except ObjectNotFound:  # it was deleted after it was listed, which cannot happen after a simulation
        return b""


class WatchedQueue(QueueDecorator):
    """An EventQueue that reports its calls to the rules."""

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


class WatchedSink:
    """A DeadLetterSink that reports its calls to the rules."""

    def __init__(self, inner: DeadLetterSink, rules: Rules) -> None:
        self._inner, self._rules = inner, rules

    async def publish(self, letters: Sequence[DeadLetter]) -> None:
        await self._inner.publish(letters)
        self._rules.sent_on.update((letter.id, letter.at) for letter in letters)

    async def close(self) -> None:
        await self._inner.close()


class WatchedLedger:
    """A ledger that reports claims and settlements to the rules."""

    def __init__(self, inner: Ledger, rules: Rules) -> None:
        self._inner, self._rules = inner, rules

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def claim(self, transfers: Sequence[Transfer]) -> list[Claim | Settled | Wait]:
        answers = await self._inner.claim(transfers)
        self._rules.claimed(answers)
        return answers

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        answers = await self._inner.settle(settlements)
        self._rules.settled(settlements, answers)
        return answers


class WatchedDestination(StoreDecorator):
    """A destination that reports its writes to the rules."""

    def __init__(self, inner: ObjectStore, rules: Rules) -> None:
        super().__init__(inner)
        self._rules = rules

    async def _request(self, operation: Operation, key: str, size: int, call: Any, *args: Any) -> Any:
        replaced = await find_object(self.inner, key) is not None
        answer = await call(*args)
        if operation in (WRITE, WRITE_STREAM, FINISH_UPLOAD, SET_ATTRIBUTES):
            await self._rules.written(await self.inner.head(key), replaced=replaced)
        return answer
