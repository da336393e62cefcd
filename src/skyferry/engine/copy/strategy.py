"""Whether bytes come through us, or the provider copies them by itself. Pure."""

from __future__ import annotations

from enum import Enum, auto

from skyferry.engine.copy.multipart import PartLimits
from skyferry.engine.copy.verify import kinds
from skyferry.model import Checksums, ObjectMeta
from skyferry.ports import ANY, ObjectStore, Precondition


class Way(Enum):
    """How one version gets to its destination."""

    THROUGH_US = auto()
    WHOLE = auto()  # by the provider, in one request
    PARTS = auto()  # by the provider, part by part


def can_copy_server_side(source: ObjectStore, store: ObjectStore) -> bool:
    """Whether `store` may copy from `source` by itself."""
    able = store.traits.copy_checksums | store.traits.part_copy_checksums
    there, here = source.copy_source, store.copy_source
    return bool(able) and there is not None and here is not None and there.scope == here.scope


def choose(store: ObjectStore, found: ObjectMeta, event: Checksums, when: Precondition, limits: PartLimits) -> Way:
    """For a destination that reaches the source. It MUST attest a digest that the source declares, as no byte is seen here.

    What the event declares has to be of a kind that the source declares too. A precondition is given up for no saving:
    where a copy cannot demand it and a write can, the bytes come through us.
    """
    declared, traits = kinds(found.checksums), store.traits
    if kinds(event) and not event.comparable_with(found.checksums):
        return Way.THROUGH_US
    whole = bool(declared & traits.copy_checksums) and found.size <= traits.copy_limit
    whole = whole and (when == ANY or traits.copy_exact)
    parts = bool(declared & traits.part_copy_checksums) and found.size > 0
    parts = parts and (when == ANY or traits.finish_exact or found.size > limits.size)
    if whole and (found.size <= limits.copied or not parts):
        return Way.WHOLE
    return Way.PARTS if parts else Way.THROUGH_US
