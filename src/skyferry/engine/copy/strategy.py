"""Choose the strategy of a copy. Pure."""

from __future__ import annotations

from enum import Enum, auto

from skyferry.engine.copy.verify import list_digests
from skyferry.frozen import dataclass
from skyferry.model import Checksums, ObjectMeta, Traits
from skyferry.ports import ANY, ObjectStore, Precondition


class CopyStrategy(Enum):
    """The five ways in which the bytes of an object can get to the destination."""

    __hash__ = object.__hash__  # that of Enum is written in Python

    SINGLE_REQUEST = auto()  # read and written in one request each
    STREAMED = auto()  # read in pieces and written in one request
    MULTIPART = auto()  # read and written in parts
    SERVER_SIDE = auto()  # copied by the provider in one request
    SERVER_SIDE_MULTIPART = auto()  # copied by the provider in parts

    @property
    def is_server_side(self) -> bool:
        """Return True if no byte passes through this process."""
        return self in (CopyStrategy.SERVER_SIDE, CopyStrategy.SERVER_SIDE_MULTIPART)


@dataclass(frozen=True, slots=True)
class PartLimits:
    """The sizes at which strategies change, from LimitSettings."""

    size: int = 8 * 2**20  # bytes of one part; objects up to this size are read and written in a single request
    concurrency: int = 4  # parts of one object at the same time
    first_read: int = 256 * 2**10  # bytes read before the size is known
    copied: int = 256 * 2**20  # bytes of a part that the provider copies: none of them is in memory
    streamed: int = 0  # bytes of the largest object that is streamed, unless the destination keeps parts in memory


def digests_of_stream(destination: Traits, declared: Checksums) -> Checksums:
    """Return the declared digests that the destination checks of a streamed body."""
    kinds = list_digests(declared) & destination.streamed_digests
    return Checksums(**{kind: getattr(declared, kind) for kind in kinds})


def digests_that_prove(destination: Traits, declared: Checksums, event: Checksums, attempt: int) -> Checksums:
    """Return the declared digests by which the destination alone proves that it has the bytes of the source, or none.

    Later attempts digest the bytes here, which shows whether they were damaged before or after that.
    """
    compared = not list_digests(event) or event.comparable_with(declared)
    return digests_of_stream(destination, declared) if attempt == 1 and compared else Checksums()


def choose_sent(
    destination: Traits, found: ObjectMeta, event: Checksums, attempt: int, limits: PartLimits
) -> CopyStrategy:
    """Return the strategy for an object that is larger than a part. `attempt` counts from 1.

    Parts can be resumed, but a server that keeps them in its memory can do with an object no larger than that.
    """
    most = destination.single_put_limit
    if found.size > (most if destination.parts_in_memory else min(limits.streamed, most)):
        return CopyStrategy.MULTIPART
    proven = list_digests(digests_that_prove(destination, found.checksums, event, attempt))
    return CopyStrategy.STREAMED if proven else CopyStrategy.MULTIPART


def can_copy_server_side(source: ObjectStore, destination: ObjectStore) -> bool:
    """Return True if the destination's provider can read from the source."""
    able = destination.traits.copy_checksums | destination.traits.part_copy_checksums
    there, here = source.copy_source, destination.copy_source
    return bool(able) and there is not None and here is not None and there.scope == here.scope


def choose_server_side(
    destination: ObjectStore, found: ObjectMeta, event: Checksums, when: Precondition, limits: PartLimits
) -> CopyStrategy | None:
    """Return the server-side strategy for a destination that can copy from the source. None: read and write the bytes.

    No byte passes through this process, so the destination MUST return a digest that the source declares. If the event
    declares digests, the source must declare one of the same kind. A precondition is never dropped to save traffic: if a
    server-side copy does not support it and a write does, the bytes are read and written.
    """
    declared, traits = list_digests(found.checksums), destination.traits
    if list_digests(event) and not event.comparable_with(found.checksums):
        return None
    single = bool(declared & traits.copy_checksums) and found.size <= traits.copy_limit
    single = single and (when == ANY or traits.copy_exact)
    parts = bool(declared & traits.part_copy_checksums) and found.size > 0
    parts = parts and (when == ANY or traits.finish_exact or found.size > limits.size)
    if single and (found.size <= limits.copied or not parts):
        return CopyStrategy.SERVER_SIDE
    return CopyStrategy.SERVER_SIDE_MULTIPART if parts else None
