"""Plan a multipart upload, and resume or abort earlier ones to the same key."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from skyferry.engine.consume.attempt import OpenUploads
from skyferry.engine.copy.digests import combine_crc32c
from skyferry.engine.copy.plan import CopyPlan
from skyferry.engine.copy.provenance import differ_in_transfer_only
from skyferry.errors import SkyferryError, Unsupported
from skyferry.frozen import dataclass
from skyferry.model import Attributes, Checksums, ObjectRef, Part, Progress, Traits, Upload
from skyferry.ports import ObjectStore


@dataclass(frozen=True, slots=True)
class MultipartPlan:
    """A copy in parts."""

    copy: CopyPlan
    ref: ObjectRef  # of the source, with the version
    attributes: Attributes
    part_size: int  # bytes
    changes: tuple[str, ...] = ()  # see `Receipt`

    def find_resumable(self) -> Progress | None:
        """Return the newest remembered upload that can be resumed."""
        if not self.copy.context.destination.traits.resumable:
            return None
        known = self.copy.context.attempt.uploads.known
        return next((p for p in reversed(known.values()) if self._fits(p)), None)

    def _fits(self, progress: Progress) -> bool:
        """Return True if the upload would become this very object: same version, part size and attributes."""
        upload, old, new = progress.upload, progress.source, self.ref
        same = (old.provider, old.bucket, old.key, old.version) == (new.provider, new.bucket, new.key, new.version)
        wanted = (self.copy.context.transfer.key, self.copy.found.size, self.part_size)
        cut = (upload.key, upload.size, upload.part_size) == wanted
        return same and cut and differ_in_transfer_only(upload.attributes, self.attributes)


def plan_multipart(plan: CopyPlan, wanted: int) -> MultipartPlan:
    """Plan a copy in parts of `wanted` bytes, or more if the store needs that. Raises Unsupported."""
    transfer, found = plan.context.transfer, plan.found
    cargo = plan.context.carry(found, found.checksums)
    return MultipartPlan(
        copy=plan,
        ref=replace(transfer.source, version=found.version),
        attributes=cargo.attributes,
        changes=cargo.changes,
        part_size=choose_part_size(found.size, wanted, plan.context.destination.traits),
    )


async def abort_upload(store: ObjectStore, uploads: OpenUploads, progress: Progress) -> None:
    """Abort an upload. If that fails, the upload stays in the ledger, where `skyferry gc` finds it."""
    with suppress(SkyferryError):  # the error that led here matters more
        await store.abort_upload(progress.upload)
        uploads.close(progress.upload.id)


def choose_part_size(size: int, wanted: int, traits: Traits) -> int:
    """Return the bytes per part: as wanted, unless the store needs larger parts for the object. Raises Unsupported."""
    least = max(wanted, traits.min_part, -(-size // traits.max_parts))
    rounded = -(-least // 2**20) * 2**20 if least > wanted else least
    if rounded > traits.max_part:
        raise Unsupported(f"an object of {size} bytes does not fit into {traits.max_parts} parts")
    return rounded


def part_lengths(upload: Upload) -> dict[int, int]:
    """Return the bytes of each part by its number."""
    count, size = -(-upload.size // upload.part_size), upload.part_size
    return {number: min(size, upload.size - (number - 1) * size) for number in range(1, count + 1)}


def combine_known_parts(progress: Progress) -> Checksums | None:
    """Return the CRC32C of all remembered parts together; None if that of any part is not known."""
    parts = {part.number: part for part in progress.parts if part.crc32c}
    wanted = part_lengths(progress.upload)
    if parts.keys() != wanted.keys():
        return None
    return Checksums(crc32c=combine_crc32c((parts[n].crc32c, length) for n, length in wanted.items()))


def merge_parts(progress: Progress, stored: list[Part], traits: Traits) -> Progress:
    """Return the progress with the parts that need not be sent again.

    The store decides which parts exist; the ledger supplies what the store does not report. Where parts are written in
    order, an existing part cannot be sent again: if its CRC32C is not known, its bytes are read again.
    """
    wanted, noted = part_lengths(progress.upload), {part.number: part for part in progress.parts}
    parts = []
    for part in stored:
        mine = noted.get(part.number)
        if part.size != wanted.get(part.number):
            continue
        if mine and part.tag in ("", mine.tag) and part.crc32c in ("", mine.crc32c):
            parts.append(mine)
        elif (part.tag and part.crc32c) or not traits.parallel_parts:
            parts.append(part)
    return replace(progress, parts=tuple(parts))
