"""Plausible mistakes in the engine, to be planted into a worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from types import MethodType, SimpleNamespace
from typing import Any

from skyferry.engine.copy.large.resuming import MultipartPlan
from skyferry.engine.copy.receipt import record_delete
from skyferry.engine.copy.strategy import CopyStrategy
from skyferry.engine.resilience.whole_reads import WholeReadsStore
from skyferry.errors import PreconditionFailed
from skyferry.model import Change, Progress
from skyferry.ports import ANY, Message, ObjectData, Retry, Settlement


def ack_before_settle(worker: Any) -> None:
    """A message acked as soon as it is received."""
    queue = worker._queues[0]
    receive = queue.receive

    async def eager(limit: int, wait: float) -> list[Message]:
        messages: list[Message] = await receive(limit, wait)
        await queue.ack(messages)
        return messages

    worker._queues[0] = _Override(queue, receive=eager)


def no_fence(worker: Any) -> None:
    """A ledger that takes a settlement whatever its fence."""
    ledger = worker._context.ledger
    state = ledger._port._state

    async def careless(settlements: Sequence[Settlement]) -> list[bool]:
        fences = {key: lease.fence for key, lease in state.leases.items()}
        claims = [replace(s.claim, fence=fences[s.claim.transfer.store, s.claim.transfer.key]) for s in settlements]
        return list(await ledger.settle([replace(s, claim=c) for s, c in zip(settlements, claims, strict=True)]))

    worker._executor.settler._send = careless


def unconditional_writes(worker: Any) -> None:
    """A write that replaces whatever is there."""
    protected = _innermost(worker, "destination")
    store = protected.inner

    async def write(key: str, data: bytes, attributes: Any, checksums: Any, when: Any = ANY) -> Any:
        return await store.write(key, data, attributes, checksums, ANY)

    async def stream(key: str, body: Any, attributes: Any, checksums: Any, when: Any = ANY) -> Any:
        return await store.write_stream(key, body, attributes, checksums, ANY)

    async def finish(upload: Any, parts: Any, checksums: Any, when: Any = ANY) -> Any:
        return await store.finish_upload(upload, parts, checksums, ANY)

    protected.inner = _Override(store, write=write, write_stream=stream, finish_upload=finish)


def unverified_reads(worker: Any) -> None:
    """Bytes taken as they come, whatever the source declares."""
    protected = _innermost(worker, "source")
    store = protected.inner

    async def read(*args: Any, **kwargs: Any) -> ObjectData:
        got: ObjectData = await store.read(*args, **kwargs)
        return replace(got, meta=replace(got.meta, checksums=type(got.meta.checksums)()))

    protected.inner = _Override(store, read=read)


def deletes_without_a_look(worker: Any) -> None:
    """A delete event obeyed without asking whether the object is really gone."""
    planner = worker._executor._copier._planner
    plan = planner.plan

    async def trusting(context: Any, memory: Any) -> Any:
        if context.transfer.change is Change.DELETED:
            await context.destination.delete(context.transfer.key)
            return record_delete(context, 0.0, 0.0)
        return await plan(context, memory)

    planner.plan = trusting


def retries_are_forgotten(worker: Any) -> None:
    """A failed attempt whose message is acked instead of given back."""
    executor = worker._executor
    recorded = executor._recorded

    def forgetful(self: Any, key_queue: Any, task: Any, outcome: Any) -> Any:
        again = recorded(key_queue, task, outcome)
        return None if isinstance(outcome, Retry) else again

    executor._recorded = MethodType(forgetful, executor)


def outages_burn_attempts(worker: Any) -> None:
    """An outage counted against the object."""
    for breaker in worker._context.breakers.values():
        breaker.has_answered = lambda side, since: True


def poison_is_dropped(worker: Any) -> None:
    """A message that is no event, acked without a dead letter."""

    async def bury(letters: Any) -> None:
        return None

    object.__setattr__(worker._context, "ledger", _Override(worker._context.ledger, add_dead_letters=bury))


def boundless_memory(worker: Any) -> None:
    """Object data read without asking for memory first."""

    async def take(size: int) -> None:
        return None

    share = SimpleNamespace(take=take, take_now=lambda size: True, give=lambda size: None)
    worker._executor._copier._budget.share = lambda source, destination: share


def lost_races_win(worker: Any) -> None:
    """A refused write tried again without the condition."""
    protected = _innermost(worker, "destination")
    store = protected.inner

    async def write(key: str, data: bytes, attributes: Any, checksums: Any, when: Any = ANY) -> Any:
        try:
            return await store.write(key, data, attributes, checksums, when)
        except PreconditionFailed:
            return await store.write(key, data, attributes, checksums, ANY)

    protected.inner = _Override(store, write=write)


def uploads_of_any_version(worker: Any) -> None:
    """An upload gone on with although the source has changed since it began."""
    multipart = worker._executor._copier._executor.strategies[CopyStrategy.MULTIPART]
    plan_upload = multipart._plan_upload

    class Careless(MultipartPlan):
        def _fits(self, progress: Progress) -> bool:
            upload = progress.upload
            return (upload.key, upload.size) == (self.copy.context.transfer.key, self.copy.found.size)

    def careless(plan: Any) -> MultipartPlan:
        upload = plan_upload(plan)
        return Careless(**{field.name: getattr(upload, field.name) for field in fields(upload)})

    multipart._plan_upload = careless


def _innermost(worker: Any, name: str) -> WholeReadsStore:
    """Return the innermost decorator that protects a store."""
    store = worker._executor._copier.stores[name]
    while not isinstance(store, WholeReadsStore):
        store = store.inner
    return store


class _Override:
    """A port with some methods replaced."""

    def __init__(self, port: Any, **methods: Any) -> None:
        self.__dict__.update(methods)
        self._port = port

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)


BUGS: list[Any] = [
    ack_before_settle,
    no_fence,
    unconditional_writes,
    unverified_reads,
    deletes_without_a_look,
    retries_are_forgotten,
    outages_burn_attempts,
    poison_is_dropped,
    boundless_memory,
    lost_races_win,
    uploads_of_any_version,
]
