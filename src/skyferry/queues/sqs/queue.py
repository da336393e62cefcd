"""Amazon SQS, standard and FIFO queues.

A URL carries `sqs://NAME?region=REGION`, with `account` for a queue of another account, `endpoint` for what speaks like
SQS, `lease` in seconds. `location` is the queue's name, or its whole https URL as Amazon gives it.

A message can be leased for at most 12 hours after its receipt, with all extensions. Then `extend` returns it as lost, and it
is delivered again. On FIFO queues the message attribute `MessageGroupId` names the group on send;
without it each message (or `dedup_id`) is a group of its own.
"""

from __future__ import annotations

import asyncio
import math
import re
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import orjson

from skyferry.clock import SystemClock
from skyferry.clouds.credentials import S3Provider
from skyferry.errors import QueueError
from skyferry.ports import Clock, Depth, Message, Outgoing
from skyferry.ports.inspection import QueueFacts, Unknown
from skyferry.queues.concurrency import receive_rest, run_all
from skyferry.queues.sqs.client import SqsClient, SqsOptions
from skyferry.queues.sqs.inspection import inspect
from skyferry.queues.sqs.scheme import FIFO, HOLD, TRAITS
from skyferry.queues.text_envelope import Pairs, parse_attributes, text_of, unwrap, wrap

BATCH = 10  # messages in one request
BATCH_BYTES = 256 * 2**10  # bytes in one request; newer regions take 1 MiB
# Bytes of one message in an answer, at most: 1 MiB in which each byte is escaped like \u0022, and its attributes.
ANSWERED = 6 * 2**20 + 64 * 2**10
LONG_POLL = 20  # seconds
# Seconds of lease of messages in a long poll, until they are returned: if the poll is aborted, no client has the messages that
# the service has already put into the answer.
BRIEF = 10
GLANCE = 1.0  # seconds, at least, to wait for a poll under way
ATTRIBUTES = 10  # of one message
TRIES = 3  # of a batch entry that failed in the service
GROUP = "MessageGroupId"
_NAME = re.compile(r"(?!(?i:aws|amazon)\.)(?!.*\.\.)[A-Za-z0-9_-][A-Za-z0-9_.-]{0,254}")
_GONE = re.compile(r"ReceiptHandleIsInvalid|InvalidParameterValue|MessageNotInflight")  # in the code of an entry
REST = "skyferry-attributes"  # attribute that contains those beyond the limit or with illegal names


def _ignored(_: int) -> None:
    """Ignore a success."""


class SqsQueue:
    """An `EventQueue` on SQS."""

    def __init__(
        self, name: str, location: str, credentials: S3Provider, options: SqsOptions, clock: Clock | None = None
    ) -> None:
        self._fifo = location.endswith(".fifo")
        self.name, self.lease, self.traits = name, float(options.lease), FIFO if self._fifo else TRAITS
        self._client = SqsClient(name, location, credentials, options)
        self._inspected = partial(inspect, self._client, credentials, options, self.traits)
        self._clock = clock or SystemClock()
        self._leases: dict[str, float] = {}  # end of the lease, by receipt
        self._left: asyncio.Task[list[Message]] | None = None  # a poll whose caller left; the next receive continues it
        self._idle = False  # the last poll was empty
        self._ended = asyncio.Event()

    async def receive(self, limit: int, wait: float) -> list[Message]:
        """See `EventQueue`. Waits whole seconds, rounded up.

        While the queue is empty, one poll of 20 seconds serves the receives of that time.
        """
        self._check()
        deadline = self._clock.monotonic() + wait
        while True:
            left = max(0.0, deadline - self._clock.monotonic())
            batch = await self._first(min(limit, BATCH), left)
            if batch or self._ended.is_set() or self._clock.monotonic() >= deadline:
                break
        return await receive_rest(batch, partial(self._poll, wait=0, lease=int(self.lease)), limit, BATCH)

    async def extend(self, messages: Sequence[Message], seconds: float = 0.0) -> list[Message]:
        """See `EventQueue`. A message at the end of its 12 hours is lost."""
        self._check()
        now = self._clock.time()
        wanted = max(int(self.lease), math.ceil(seconds))
        granted = {m.receipt: min(wanted, _remaining(m, self.lease, now)) for m in messages if self._holds(m, now)}
        kept = [m for m in messages if granted.get(m.receipt, 0) > 0]
        lost = {m.receipt for m in messages} - {m.receipt for m in kept}

        def held(number: int) -> None:  # at once: a concurrent request may fail
            receipt = kept[number].receipt
            self._leases[receipt] = now + granted[receipt]

        lost |= await self._visibility(kept, granted, held)
        return [m for m in messages if m.receipt in lost]

    async def ack(self, messages: Sequence[Message]) -> None:
        """See `EventQueue`. One whose lease has ended is left to come again: the service would remove it from who has it."""
        self._check()
        now = self._clock.time()
        held = [m for m in messages if self._holds(m, now)]
        await self._batches("DeleteMessageBatch", [{"ReceiptHandle": m.receipt} for m in held])
        for message in messages:
            self._leases.pop(message.receipt, None)

    async def release(self, messages: Sequence[Message], delay: float) -> None:
        """See `EventQueue`; at most to the end of the 12 hours."""
        self._check()
        now = self._clock.time()
        held = [m for m in messages if self._holds(m, now)]
        end = math.ceil(delay)
        await self._visibility(held, {m.receipt: max(0, min(end, _remaining(m, self.lease, now))) for m in held})
        for message in messages:
            self._leases.pop(message.receipt, None)

    async def send(self, messages: Sequence[Outgoing]) -> list[str]:
        """See `EventQueue`. `delay` is at most 15 minutes, and none on a FIFO queue."""
        self._check()
        answers = await self._batches("SendMessageBatch", [self._entry(m) for m in messages])
        failed = [a for a in answers if "MessageId" not in a]
        if failed:
            raise QueueError(_explain(failed[0]), where=self.name, hint=f"{len(failed)} messages were not sent")
        return [a["MessageId"] for a in answers]

    async def depth(self) -> Depth:
        """See `EventQueue`. The service estimates the counts and does not report the age."""
        self._check()
        prefix = "ApproximateNumberOfMessages"
        names = [prefix, f"{prefix}NotVisible", f"{prefix}Delayed"]
        answer = await self._client.call("GetQueueAttributes", AttributeNames=names)
        ready, leased, delayed = (int(answer.get("Attributes", {}).get(name, -1)) for name in names)
        return Depth(ready, leased, delayed, -1.0)

    async def inspect(self) -> QueueFacts:
        """See `InspectableQueue`."""
        return await self._inspected()

    async def sends(self) -> bool | Unknown:
        """See `InspectableQueue`."""
        return Unknown("SQS does not report permissions")

    async def close(self) -> None:
        """See `EventQueue`. What a poll has brought that is not handed out goes back; other leases run out by themselves."""
        self._ended.set()
        if self._left:
            await self._part(self._left)
        await self._client.close()

    def _check(self) -> None:
        if self._ended.is_set():
            raise QueueError("it is closed", where=self.name)

    async def _first(self, limit: int, left: float) -> list[Message]:
        """Return the messages of one poll. A caller that leaves or is cancelled hands the poll to the next receive."""
        known, long = self._left, self._idle and left > 0
        patience = max(left, GLANCE) if long or known else None
        poll = known or asyncio.create_task(self._long_poll(limit) if long else self._short_poll(limit, left))
        self._left, ended = poll, asyncio.create_task(self._ended.wait())
        try:
            await asyncio.wait({poll, ended}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
        if self._ended.is_set():
            await self._part(poll)
        if not poll.done() or self._ended.is_set():
            return []
        self._left = None
        return await self._handed_out(poll.result(), limit)

    async def _short_poll(self, limit: int, left: float) -> list[Message]:
        return await self._poll(limit, min(LONG_POLL, math.ceil(left)), int(self.lease))

    async def _long_poll(self, limit: int) -> list[Message]:
        """Poll; the caller may be gone when it ends."""
        return await self._poll(limit, LONG_POLL, min(BRIEF, int(self.lease)))

    async def _handed_out(self, found: list[Message], limit: int) -> list[Message]:
        """Return the messages of a poll whose leases could be extended in full; release those beyond the limit."""
        now = self._clock.time()
        found = [message for message in found if self._holds(message, now)]
        if more_than_asked := found[limit:]:
            await self.release(more_than_asked, 0)
        short = [m for m in found[:limit] if m.lease_until < now + self.lease - BRIEF]
        if short:
            lost = {m.receipt for m in await self.extend(short)}
            found = [replace(m, lease_until=self._leases[m.receipt]) for m in found if m.receipt not in lost]
        return found[:limit]

    async def _part(self, poll: asyncio.Task[list[Message]]) -> None:
        """End a poll. A short one may end by itself; its messages are released."""
        self._left = None
        await asyncio.wait({poll}, timeout=0 if self._idle else GLANCE)
        poll.cancel()
        await asyncio.wait({poll})
        if not poll.cancelled() and not poll.exception():
            with suppress(QueueError):  # the leases expire
                await self._visibility(poll.result(), {m.receipt: 0 for m in poll.result()})

    async def _poll(self, limit: int, wait: int, lease: int) -> list[Message]:
        sent = self._clock.time()
        answer = await self._client.call(
            "ReceiveMessage",
            limit * ANSWERED,
            MaxNumberOfMessages=limit,
            WaitTimeSeconds=wait,
            VisibilityTimeout=lease,
            AttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
            MessageAttributeNames=["All"],
        )
        now = self._clock.time() if wait else sent
        found = [_message(entry, now + lease) for entry in answer.get("Messages", [])]
        for receipt in [r for r, until in self._leases.items() if until <= now]:
            del self._leases[receipt]
        self._leases.update((message.receipt, message.lease_until) for message in found)
        self._idle = not found
        return found

    def _holds(self, message: Message, now: float) -> bool:
        return self._leases.get(message.receipt, 0.0) > now

    async def _visibility(
        self, messages: Sequence[Message], seconds: dict[str, int], changed: Callable[[int], None] = _ignored
    ) -> set[str]:
        """Return the receipts that are no longer valid. `changed` is called with the number of each other one."""
        entries = [{"ReceiptHandle": m.receipt, "VisibilityTimeout": seconds[m.receipt]} for m in messages]
        answers = await self._batches("ChangeMessageVisibilityBatch", entries, changed)
        return {m.receipt for m, answer in zip(messages, answers, strict=True) if "Code" in answer}

    async def _batches(
        self, operation: str, entries: Sequence[dict[str, Any]], done: Callable[[int], None] = _ignored
    ) -> list[dict[str, Any]]:
        """Return the answer of each entry, in order; retry entries that failed in the service.

        `done` is called with the number of each entry as soon as it succeeds. Raises QueueError if another entry fails.
        """
        answers: list[dict[str, Any]] = [{}] * len(entries)
        open_entries = list(range(len(entries)))
        for _ in range(TRIES):
            groups = list(_grouped(open_entries, entries))
            calls = [partial(self._batch, operation, {n: entries[n] for n in group}, done) for group in groups]
            for found in await run_all(calls):
                for number, answer in found.items():
                    answers[number] = answer
            open_entries = [n for n in open_entries if _may_pass(answers[n])]
            if not open_entries:
                return answers
        raise QueueError(_explain(answers[open_entries[0]]), where=self.name)

    async def _batch(
        self, operation: str, entries: dict[int, dict[str, Any]], done: Callable[[int], None]
    ) -> dict[int, dict[str, Any]]:
        answer = await self._client.call(operation, Entries=[{"Id": str(n), **entry} for n, entry in entries.items()])
        results = [*answer.get("Successful", []), *answer.get("Failed", [])]
        for result in answer.get("Successful", []):
            done(int(result["Id"]))
        return {int(result["Id"]): result for result in results}

    def _entry(self, message: Outgoing) -> dict[str, Any]:
        body = message.body.decode() if text_of(message.body) is not None else wrap(message.body)
        entry: dict[str, Any] = {"MessageBody": body, "MessageAttributes": _outgoing(message.attributes)}
        if self._fifo:
            own = message.dedup_id or uuid.uuid4().hex
            entry["MessageDeduplicationId"] = own
            entry[GROUP] = dict(message.attributes).get(GROUP) or own
        elif message.delay > 0:
            entry["DelaySeconds"] = math.ceil(min(self.traits.max_send_delay, message.delay))
        return entry


def _remaining(message: Message, lease: float, now: float) -> int:
    """Return for how many seconds it can still be leased."""
    return int(message.lease_until - lease + HOLD - now)


def _message(entry: dict[str, Any], until: float) -> Message:
    body, _ = unwrap(entry["Body"])
    system = entry.get("Attributes", {})
    return Message(
        id=entry["MessageId"],
        body=body,
        receipt=entry["ReceiptHandle"],
        attempt=int(system.get("ApproximateReceiveCount", 1)),
        enqueued_at=int(system.get("SentTimestamp", 0)) / 1000,
        lease_until=until,
        attributes=_incoming(entry.get("MessageAttributes", {})),
    )


def _outgoing(attributes: Pairs) -> dict[str, dict[str, str]]:
    own: dict[str, str] = {}
    rest: list[tuple[str, str]] = []
    for name, value in attributes:
        legal = _NAME.fullmatch(name) and not name.endswith(".") and name not in own and text_of(value.encode())
        if legal and len(own) < ATTRIBUTES - 1:
            own[name] = value
        else:
            rest.append((name, value))
    if rest:
        own[REST] = wrap(orjson.dumps(rest))
    return {name: {"DataType": "String", "StringValue": value} for name, value in own.items()}


def _incoming(attributes: dict[str, dict[str, str]]) -> Pairs:
    """Return the attributes by name; binary ones stay in base64."""
    found = {n: v.get("StringValue", v.get("BinaryValue", "")) for n, v in attributes.items()}
    found.update(parse_attributes(unwrap(found.pop(REST, ""))[0]))
    return tuple(sorted(found.items()))


def _grouped(numbers: Iterable[int], entries: Sequence[dict[str, Any]]) -> Iterable[list[int]]:
    """Split entries into batches within the limits of the service."""
    group: list[int] = []
    size = 0
    for number in numbers:
        weight = len(str(entries[number]).encode("utf-8", "surrogatepass"))
        if group and (len(group) == BATCH or size + weight > BATCH_BYTES):
            yield group
            group, size = [], 0
        group.append(number)
        size += weight
    if group:
        yield group


def _may_pass(answer: dict[str, Any]) -> bool:
    """Return True if an entry failed in the service, so that a retry may succeed. A deleted message has not failed."""
    return "Code" in answer and not answer.get("SenderFault") and not _GONE.search(str(answer["Code"]))


def _explain(answer: dict[str, Any]) -> str:
    return f"{answer.get('Code', '')}: {answer.get('Message', 'no answer')}"
