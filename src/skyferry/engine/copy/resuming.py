"""A large object on its way: what is to be made of it, which upload it may go on with, and how uploads are given up."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

from skyferry.engine.consume.attempt import Attempt, OpenUploads
from skyferry.engine.copy import digests as digest
from skyferry.engine.copy import provenance as stamp
from skyferry.errors import SkyferryError, Unsupported
from skyferry.model import Attributes, Checksums, ObjectMeta, ObjectRef, Part, Progress, Traits, Upload
from skyferry.ports import ObjectStore


@dataclass(frozen=True, slots=True)
class Large:
    """One version of one object, and what is to be made of it."""

    source: ObjectStore
    ref: ObjectRef  # with the version
    found: ObjectMeta
    store: ObjectStore
    key: str
    attributes: Attributes
    part_size: int
    event: Checksums  # what the event declares
    by_provider: bool = False  # the provider copies the parts, no byte passes through us

    def resumable(self, attempt: Attempt) -> Progress | None:
        """The upload that can be gone on with, as it was remembered."""
        if not self.store.traits.resumable:
            return None
        return next((p for p in reversed(attempt.uploads.known.values()) if self._fits(p)), None)

    def _fits(self, progress: Progress) -> bool:
        """Whether that upload would become this very object: of the same version, cut and described alike."""
        upload = progress.upload
        origin = all(
            getattr(progress.source, n) == getattr(self.ref, n) for n in ("provider", "bucket", "key", "version")
        )
        cut = (upload.key, upload.size, upload.part_size) == (self.key, self.found.size, self.part_size)
        return origin and cut and stamp.alike(upload.attributes, self.attributes)


async def give_up(store: ObjectStore, uploads: OpenUploads, progress: Progress) -> None:
    """Abort an upload. One that cannot be now stays in the ledger, where `engine.gc` finds it."""
    with suppress(SkyferryError):  # the error that led here matters more
        await store.abort_upload(progress.upload)
        uploads.close(progress.upload.id)


def part_size(size: int, wanted: int, traits: Traits) -> int:
    """Bytes per part: as wanted, unless the store needs larger ones to hold the object. Raises Unsupported."""
    least = max(wanted, traits.min_part, -(-size // traits.max_parts))
    rounded = -(-least // 2**20) * 2**20 if least > wanted else least
    if rounded > traits.max_part:
        raise Unsupported(f"an object of {size} bytes does not fit into {traits.max_parts} parts")
    return rounded


def lengths(upload: Upload) -> dict[int, int]:
    """Bytes of every part, by number."""
    count, size = -(-upload.size // upload.part_size), upload.part_size
    return {number: min(size, upload.size - (number - 1) * size) for number in range(1, count + 1)}


def whole(progress: Progress) -> Checksums | None:
    """The CRC32C of all parts together, as they were remembered; None if one is not known."""
    parts = {part.number: part for part in progress.parts if part.crc32c}
    wanted = lengths(progress.upload)
    if parts.keys() != wanted.keys():
        return None
    return Checksums(crc32c=digest.combined((parts[n].crc32c, length) for n, length in wanted.items()))


def agreed(progress: Progress, told: list[Part], traits: Traits) -> Progress:
    """With the parts that need not be sent again. The store is right about what it has; of what it does not tell, the ledger.

    Where parts have to come in order, what is there cannot be sent again: if its CRC32C is not known, it will be read again.
    """
    wanted, noted = lengths(progress.upload), {part.number: part for part in progress.parts}
    parts = []
    for part in told:
        mine = noted.get(part.number)
        if part.size != wanted.get(part.number):
            continue
        if mine and part.tag in ("", mine.tag) and part.crc32c in ("", mine.crc32c):
            parts.append(mine)
        elif (part.tag and part.crc32c) or not traits.parallel_parts:
            parts.append(part)
    return replace(progress, parts=tuple(parts))
