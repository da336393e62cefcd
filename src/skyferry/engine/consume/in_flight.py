"""Work in flight: leased messages, the transfers they request, and the queue of transfers for each destination key."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import field
from math import inf

from skyferry.engine.backlog import MeanSize, sum_sizes
from skyferry.engine.consume.attempt import Attempt, Lease, OpenUploads
from skyferry.engine.consume.source_checks import SourceChecks
from skyferry.engine.consume.waiting import WaitingRoom
from skyferry.engine.resilience.circuit_breaker import hash_folder
from skyferry.engine.resilience.shares import find_share
from skyferry.frozen import dataclass
from skyferry.model import HEAD_START, Claim, Placement, Transfer
from skyferry.ports import EventQueue, Message, Outcome, letter_attributes
from skyferry.status import QueueBytes

Key = tuple[str, str]  # destination store and key


@dataclass(frozen=True, slots=True)
class WaitingTransfer:
    """A transfer of a message that waits."""

    occurred_at: float  # of its event, seconds since 1970
    folders: tuple[tuple[str, int], tuple[str, int]]  # its stores, and the folders of its objects there (`hash_folder`)

    @classmethod
    def of(cls, transfer: Transfer) -> WaitingTransfer:
        """Return what remains of a transfer while it waits."""
        source = transfer.source_store, hash_folder(transfer.source.key)
        return cls(transfer.occurred_at, (source, (transfer.store, hash_folder(transfer.key))))


@dataclass(eq=False, slots=True)
class LeasedMessage:
    """One leased message."""

    queue: EventQueue
    message: Message
    pending: int = 0  # its transfers that are not settled yet
    retry_at: float | None = None  # time of its redelivery, because a transfer of it could not be settled
    routes: dict[str, WaitingTransfer] = field(default_factory=dict)  # those transfers
    size: int | None = 0  # declared bytes that its transfers copy; None = an event declares none
    waits: int = 0  # number of waits since it was received
    for_ledger: bool = False  # it waits because the ledger did not answer
    early: int = 0  # number of such waits that an answer of the ledger ended
    uncounted: int = 0  # failures in that time that did not count as attempts
    failing_since: float | None = None  # monotonic seconds of the first of these failures
    read_proven: bool = False  # a failed attempt has read what the source declares, and none since was corrupt
    foreign: bool = False  # it belongs to another deployment: it does not wait in memory
    lease_until: float = 0.0  # monotonic seconds until which its lease was renewed
    creation_times: dict[str, float] = field(
        default_factory=dict
    )  # of the objects of its events, by event id, if the source was asked

    undone: bool = False  # a late change of this worker may have undone a newer copy: the destination is looked at
    both_readings: bool = False  # the likely reading of a key of it is no object: its other reading is looked at, too

    def reset(self) -> None:
        """Start over, as if it had just been received."""
        self.early = self.early if self.for_ledger else 0
        self.retry_at, self.routes, self.for_ledger = None, {}, False

    @property
    def body(self) -> bytes:
        """The body that a dead letter keeps."""
        if (event := self.message.event) is None:
            return self.message.body
        from skyferry.events.native import encode_event  # seldom needed

        return encode_event(event)

    @property
    def origin(self) -> str:
        """The queue that first delivered it. A redriven message carries that name in an attribute."""
        given = self.message.attributes
        return (given and dict(given).get(letter_attributes.QUEUE)) or self.queue.name

    @property
    def asked(self) -> bool:
        """True if a person requested it, by submitting an event or redriving a dead letter; or if its copy may be undone."""
        given = self.message.attributes
        return self.undone or (bool(given) and (bool(self.letter) or letter_attributes.ASKED in dict(given)))

    @property
    def letter(self) -> str:
        """The id of the dead letter that it redrives; "" for any other message."""
        given = self.message.attributes
        return dict(given).get(letter_attributes.LETTER, "") if given else ""


@dataclass(eq=False, slots=True)
class TransferTask:
    """One transfer, and the messages that requested it."""

    transfer: Transfer
    messages: list[LeasedMessage]
    claim: Claim | None = None
    lease: Lease = field(init=False, repr=False)  # of the claim
    arrival: int = 0  # the order of arrival of tasks
    checked_after: int = 0  # the last arrival before its source was read
    attempt: Attempt | None = None  # while it is worked on
    concluding: bool = False  # its outcome is being recorded
    forced_outcome: Outcome | None = None  # set if no route leads to it any more: only this outcome is recorded

    @property
    def key(self) -> Key:
        """The destination key. Two transfers never use one at the same time."""
        return (self.transfer.store, self.transfer.key)

    @property
    def rank(self) -> float:
        """The time of its message, moved ahead by the priority."""
        return self.messages[0].message.enqueued_at - HEAD_START[self.transfer.priority]


@dataclass(eq=False, slots=True)
class KeyQueue:
    """The transfers to one destination key. They run one at a time, newest first, so that the others are then superseded."""

    key: Key
    tasks: list[TransferTask] = field(default_factory=list)
    placement: Placement | None = None  # as the settlements of this queue have changed it
    uploads: OpenUploads = field(default_factory=OpenUploads)  # to this key
    released_fence: int = 0  # claims with this fence or an older one ended when the key was released
    source_checks: SourceChecks = field(default_factory=SourceChecks)
    runner: asyncio.Task[None] | None = None  # runs the transfers, and then removes this
    kept: Claim | None = None  # the last one; the key is not free, because a change of it may still take effect
    arrived: asyncio.Event | None = None  # set by a task that arrives while the key is kept

    def append(self, task: TransferTask) -> None:
        """Add a task."""
        self.tasks.append(task)
        if self.arrived is not None:
            self.arrived.set()

    def pop_newest(self) -> TransferTask:
        """Remove and return the next task."""
        if len(self.tasks) == 1:
            return self.tasks.pop()
        best = max(self.tasks, key=_newness)
        self.tasks.remove(best)
        return best


def _newness(task: TransferTask) -> tuple[str, float]:
    position = task.transfer.position
    return (str(position) if position and position.exact else "", task.transfer.occurred_at)


class InFlight:
    """All messages and transfers in flight, within a limit."""

    def __init__(self, limit: int, waiting: WaitingRoom | None = None, queues: int = 1) -> None:
        """`queues` is the number of queues that may have some. One alone may have all."""
        self.limit, self._queues = limit, queues
        self.waiting = WaitingRoom() if waiting is None else waiting  # the part of `messages` that waits
        self.messages: dict[LeasedMessage, None] = {}  # in order of arrival
        self.tasks: dict[str, TransferTask] = {}  # by transfer id
        self.key_queues: dict[Key, KeyQueue] = {}
        self.claiming: dict[Key, int] = {}  # keys with a claim in flight
        self.released_fences: dict[Key, int] = {}  # of those, the fence with which the key was released meanwhile
        self.arrivals = 0  # number of tasks so far
        self.mean_sizes = defaultdict[str, MeanSize](MeanSize)  # by queue name
        self._reserved = 0
        self._counts = Counter[str]()  # of `messages`, by queue name
        self._line: dict[str, None] = {}  # names of queues that found no room to receive, in this order

    def add_messages(self, batch: Iterable[LeasedMessage]) -> None:
        """Add leased messages."""
        for leased in batch:
            self.messages[leased] = None
            self._counts[leased.queue.name] += 1

    def remove_message(self, leased: LeasedMessage) -> None:
        """Remove a message. Idempotent."""
        if leased in self.messages:
            del self.messages[leased]
            self._counts[leased.queue.name] -= 1

    def find_room(self, queue: str, taken: int = 0) -> int:
        """Return the number of waiting messages of a queue that may be processed now. It is none if not above 0.

        `taken` places are reserved.
        """
        free = self.limit - len(self.messages) + len(self.waiting) - taken
        return find_share(free, self._counts[queue] - self.waiting.count(queue), self._queues)

    def request_room(self, queue: str) -> int:
        """Return the number of messages that may be received from a queue now. Without room, the queue waits in line.

        A place is left to each queue before it, or receives that find no message would reserve all places again and again.
        """
        ahead = [*self._line].index(queue) if queue in self._line else len(self._line)
        if (room := self.find_room(queue, self._reserved + ahead)) > 0:
            self._line.pop(queue, None)
        else:
            self._line.setdefault(queue)
        return room

    def take_due(self, now: float, limit: int, blocked: Callable[[LeasedMessage], float]) -> list[LeasedMessage]:
        """Remove due messages from the waiting room, of each queue those for which it has room. See `WaitingRoom.take`."""
        taken: list[LeasedMessage] = []
        for queue in self.waiting.queues:
            taken += self.waiting.take(queue, now, min(limit - len(taken), self.find_room(queue)), blocked)
        return taken

    def time_to_due(self, now: float, turn: float) -> float:
        """Return the seconds until a waiting message is due; at least `turn` if its queue has no room; inf without any."""
        times = {queue: self.waiting.find_next(queue) - now for queue in self.waiting.queues}
        return min((max(left, 0.0 if self.find_room(q) > 0 else turn) for q, left in times.items()), default=inf)

    def find_known(self, transfers: Iterable[Transfer]) -> set[str]:
        """Return the ids of those that are in flight or whose message waits. A similar transfer may match a waiting message."""
        waiting = {pair for leased in self.waiting for pair in leased.routes.items()}
        return {t.id for t in transfers if t.id in self.tasks or (t.route, WaitingTransfer.of(t)) in waiting}

    def reserve(self, count: int) -> None:
        """Reserve room for a receive in flight. A negative count undoes it."""
        self._reserved += count

    def begin_claim(self, keys: Iterable[Key]) -> None:
        """Note that a claim of these keys is in flight. `end_claim` MUST follow, after the answers are processed."""
        for key in keys:
            self.claiming[key] = self.claiming.get(key, 0) + 1

    def end_claim(self, keys: Iterable[Key]) -> None:
        """Undo `begin_claim`."""
        for key in keys:
            self.claiming[key] -= 1
            if not self.claiming[key]:
                del self.claiming[key]
                if key not in self.key_queues:
                    self.released_fences.pop(key, None)

    def list_held(self) -> list[tuple[Claim, Lease]]:
        """Return the claims to renew, and where their leases are noted. Of a key that is kept, no work has a lease."""
        held = [(task.claim, task.lease) for task in self.tasks.values() if task.claim is not None]
        kept = (key_queue.kept for key_queue in self.key_queues.values())
        return held + [(claim, Lease()) for claim in kept if claim is not None]

    def release_key(self, key_queue: KeyQueue, fence: int) -> None:
        """Note that the key is about to be released. Claims with this fence end with it, also those in flight."""
        key_queue.released_fence = fence
        self.released_fences[key_queue.key] = fence

    def remove_key_queue(self, key_queue: KeyQueue) -> None:
        """Remove a key queue whose tasks are not run any more. Idempotent."""
        if self.key_queues.get(key_queue.key) is not key_queue:
            return
        del self.key_queues[key_queue.key]
        if key_queue.key not in self.claiming:
            self.released_fences.pop(key_queue.key, None)

    def attach_message(self, transfers: Iterable[Transfer], leased: LeasedMessage, now: float) -> list[TransferTask]:
        """Attach the message to its transfers. Return those that were not in flight before.

        An outcome that is being recorded covers earlier messages only. This one may be a redrive of it, and is retried.
        """
        fresh = []
        for transfer in transfers:
            task = self.tasks.get(transfer.id)
            if task and task.concluding:
                leased.retry_at = now + 1.0
                continue
            leased.pending += 1
            if task:
                task.messages.append(leased)
            else:
                self.arrivals += 1
                task = self.tasks[transfer.id] = TransferTask(transfer, [leased], arrival=self.arrivals)
                fresh.append(task)
        return fresh

    def read_otherwise(self, task: TransferTask, now: float) -> None:
        """Process its messages once more, with both readings of their keys; the source has no object of the likely one."""
        for leased in task.messages:
            if task.transfer.otherwise and not leased.both_readings:
                leased.both_readings = True
                leased.retry_at = now if leased.retry_at is None else min(now, leased.retry_at)

    def note_size(self, leased: LeasedMessage, transfers: Iterable[Transfer]) -> None:
        """Note how many bytes a message asks to copy. The mean counts it when it is received, and not after each wait."""
        leased.size = sum_sizes(transfers)
        if leased.size is not None and not leased.waits:
            self.mean_sizes[leased.queue.name].add(leased.size)

    def find_oldest(self) -> dict[str, float]:
        """Return the time of the oldest unsettled event in flight, by route (seconds since 1970)."""
        tasks = [(task.transfer.route, task.transfer.occurred_at) for task in self.tasks.values()]
        found: dict[str, float] = {}
        waiting = (pair for leased in self.waiting for pair in leased.routes.items())
        for route, at in [*tasks, *((route, waits.occurred_at) for route, waits in waiting)]:
            found[route] = min(at, found.get(route, at))
        return found

    def backlog(self) -> dict[str, QueueBytes]:
        """Return the bytes of each queue's messages in flight. One without a declared size counts as the mean."""
        known, unknown = Counter[str](), Counter[str]()
        for leased in self.messages:
            name = leased.queue.name
            known[name] += leased.size or 0
            unknown[name] += leased.size is None
        means = {name: mean.value for name, mean in self.mean_sizes.items()}
        return {
            name: QueueBytes(known[name] + round(unknown[name] * (means.get(name) or 0.0)), means.get(name))
            for name in {*known, *means}
        }

    def finish_task(self, task: TransferTask, retry_at: float | None = None) -> list[LeasedMessage]:
        """Remove a task. Return the messages that are finished by this."""
        del self.tasks[task.transfer.id]
        finished = []
        for leased in task.messages:
            leased.pending -= 1
            if retry_at is not None:
                leased.retry_at = retry_at if leased.retry_at is None else min(leased.retry_at, retry_at)
                leased.routes[task.transfer.route] = WaitingTransfer.of(task.transfer)
            if leased.pending == 0:
                finished.append(leased)
        return finished
