"""The port of one bucket or folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable, Sequence
from typing import Protocol

from skyferry.frozen import dataclass
from skyferry.model import Attributes, Checksums, ObjectMeta, Part, Traits, Upload


@dataclass(frozen=True, slots=True)
class Precondition:
    """What MUST hold at the destination, atomically with the write. Neither given: write whatever is there."""

    create_only: bool = False  # the key does not exist
    replace: str = ""  # the key holds exactly this version


ANY = Precondition()


@dataclass(frozen=True, slots=True)
class ObjectData:
    """The answer of one ranged read."""

    meta: ObjectMeta  # of the whole object
    data: bytes  # the range


@dataclass(frozen=True, slots=True)
class Reach:
    """Where a bucket is, for another store that is to copy from it by itself."""

    domain: Hashable  # stores of equal domains can: same provider, same endpoint, same credential
    bucket: str  # its name there


class ObjectStore(Protocol):
    """One bucket (or folder) on one provider.

    Keys are checked by the store before any effect: one it cannot hold raises `InvalidKey`.
    A write is atomic (readers see the old object or the whole new one) and durable when the call returns.
    A missing bucket is `BucketNotFound`, never `ObjectNotFound`: an unreachable source must not look like deletes.
    """

    name: str  # as the configuration and the ledger know it
    traits: Traits
    reach: Reach | None  # None: no store copies from it by itself

    async def head(self, key: str) -> ObjectMeta:
        """The newest version. Raises ObjectNotFound."""

    async def read(self, key: str, start: int, length: int, *, version: str = "") -> ObjectData:
        """Exactly the bytes [start, min(start + length, size)) of one version, raw as stored, in one request.

        `version` pins the read: if the key does not hold that version any more (and the store keeps no old ones), raises
        VersionChanged. Without it, the newest version. A start at or past the end gives b"". A short or broken body
        MUST raise, never return fewer bytes; `StoreError.partial` MAY hold the first bytes of a pinned range, so that only
        the rest is asked for again. If the content changes during the call: VersionChanged. Raises ObjectNotFound.
        """

    async def write(
        self, key: str, data: bytes, attributes: Attributes, checksums: Checksums, when: Precondition = ANY
    ) -> ObjectMeta:
        """Write a whole object in one request; the returned meta carries the store's own attested checksums.

        A store that can, refuses a body that does not match `checksums` (ChecksumMismatch), and then keeps the old object.
        Raises PreconditionFailed if `when` does not hold; `traits` tell which preconditions it honours, and one that it
        does not honour MUST raise Unsupported rather than be ignored.
        """

    async def start_upload(self, key: str, size: int, part_size: int, attributes: Attributes) -> Upload:
        """Begin a multipart write. Parts are `part_size` long, but for the last."""

    async def write_part(self, upload: Upload, number: int, data: bytes, crc32c: str) -> Part:
        """Write part `number` (from 1; offset = (number - 1) * part_size). May be repeated; the last one counts.

        Parts may come in any order and at the same time where `traits.parallel_parts`, else in order, one at a time.
        """

    async def finish_upload(
        self, upload: Upload, parts: Sequence[Part], checksums: Checksums, when: Precondition = ANY
    ) -> ObjectMeta:
        """Make the object visible, as `write` would have. After an error the upload is still there to be aborted.

        Like `write_part` it raises UploadGone for an upload that was finished, aborted or has expired; one that this very
        upload finished before, whose answer was lost, it MAY answer as then.
        """

    async def abort_upload(self, upload: Upload) -> None:
        """Give the upload up and free its parts. Idempotent; an unknown upload is no error."""

    async def uploaded_parts(self, upload: Upload) -> list[Part]:
        """The whole parts that the store has of an upload, which another process may have begun, in order.

        `crc32c` is what the store attests of the part, or its adapter has proven; "" where neither is the case. `tag` is
        that of `write_part`, "" where the store does not tell it. Of an upload that was finished or aborted: UploadGone,
        or [] where the provider cannot tell. Where not `traits.resumable`: Unsupported.
        """

    def uploads(self, prefix: str = "") -> AsyncIterator[Upload]:
        """Uploads under way whose key starts with `prefix`, in any order: `traits.listed_uploads` says whose.

        Of each, `id`, `key` and `started_at` are known, the rest may be 0 or empty.
        """

    async def copy_from(
        self, source: Reach, found: ObjectMeta, key: str, attributes: Attributes, when: Precondition = ANY
    ) -> ObjectMeta:
        """Like `write`, with the bytes of one version of a source object (`found`), carried by the provider itself.

        Asked only where `traits.copy_attests` is not empty, the domains are equal, and `found.size` is within
        `traits.copy_limit`. The object gets these attributes and none of the source's. If the source does not hold
        that version any more: VersionChanged. A precondition where not `traits.copy_exact`: Unsupported.
        """

    async def copy_part(self, upload: Upload, number: int, source: Reach, found: ObjectMeta) -> Part:
        """Like `write_part`, with those bytes of one version of a source object that the part stands for.

        Asked only where `traits.copy_parts_attest` is not empty. Raises as `copy_from`.
        """

    async def delete(self, key: str, when: Precondition = ANY) -> None:
        """Delete the newest version. Idempotent: an absent key is no error (with `when.replace` it is PreconditionFailed).

        Where not `traits.delete_exact`, `when.replace` MUST be honoured for a version that is `kept`, and is Unsupported for
        any other. It MAY then hide a newer version for an instant, and MUST bring it back.
        """

    def list(self, prefix: str = "", after: str = "") -> AsyncIterator[ObjectMeta]:
        """Objects whose key starts with `prefix` and sorts after `after`; attributes may be empty.

        They come in the order that `traits.order` tells; `after` means that of the bytes, whichever it is.
        A listing that does not reach its end MUST raise, and one whose pages repeat MUST too. Memory is bounded by a page.
        What changes meanwhile may or may not be seen; what does not change is seen once.
        """

    async def close(self) -> None:
        """Free connections and threads. Idempotent."""
