"""Compare the contents of two objects without copying them."""

from __future__ import annotations

import asyncio

from skyferry.engine.copy.digests import PartDigests
from skyferry.engine.copy.verify import DIGESTS, digests_to_verify, find_object
from skyferry.model import Checksums, ObjectMeta
from skyferry.ports import ObjectStore, Offload

PIECE = 8 * 2**20  # bytes of one read


async def have_same_content(source: ObjectStore, key: str, destination: ObjectStore, to: str, offload: Offload) -> bool:
    """Return True if both objects exist and have the same content, by their checksums.

    Bytes are read only where the stores have no digest of one kind: then one side is read, or both. Raises StoreError.
    """
    here, there = await asyncio.gather(find_object(source, key), find_object(destination, to))
    if here is None or there is None or here.size != there.size:
        return False
    first, second = here.checksums, there.checksums
    if not first.comparable_with(second):
        wanted = digests_to_verify(second) or digests_to_verify(first) or frozenset(DIGESTS[:1])
        first, second = await asyncio.gather(
            _complete(source, here, wanted, offload), _complete(destination, there, wanted, offload)
        )
    return first.comparable_with(second) and not first.find_conflict(second)


async def _complete(store: ObjectStore, meta: ObjectMeta, kinds: frozenset[str], offload: Offload) -> Checksums:
    """Return the checksums with digests of these kinds, which are computed unless the store has them."""
    if all(getattr(meta.checksums, kind) for kind in kinds):
        return meta.checksums
    digests = PartDigests(offload, kinds)
    for number, start in enumerate(range(0, meta.size, PIECE), 1):
        piece = await store.read(meta.key, start, PIECE, version=meta.version)
        await digests.add(number, piece.data)
    return digests.result()
