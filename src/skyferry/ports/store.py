"""The port of one bucket or folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable, Sequence
from typing import Protocol

from skyferry.bodies import StreamedBody
from skyferry.frozen import dataclass
from skyferry.model import Attributes, Checksums, ObjectMeta, Part, Traits, Upload


@dataclass(frozen=True, slots=True)
class Precondition:
    """A condition on the destination, checked atomically with the write. With neither field set the write is unconditional."""

    create_only: bool = False  # the key does not exist
    replace: str = ""  # the key holds exactly this version


ANY = Precondition()


@dataclass(frozen=True, slots=True)
class ObjectData:
    """The result of one ranged read."""

    meta: ObjectMeta  # of the whole object
    data: bytes  # the range; a large one may be bytes of a `BufferPool`, see there


@dataclass(frozen=True, slots=True)
class CopySource:
    """The location of a bucket, from which another store can copy server-side."""

    scope: Hashable  # stores of equal scopes can copy: same provider, endpoint and credentials
    bucket: str  # its name at the provider


class ObjectStore(Protocol):
    """One bucket (or folder) on one provider.

    The store checks each key before any effect: a key that it does not support raises `InvalidKey`.
    A write is atomic (readers see the old object or the whole new one) and durable when the call returns.
    A missing bucket raises `BucketNotFound`, never `ObjectNotFound`: an unreachable source must not look like deletes.
    """

    name: str  # in the configuration and the ledger
    traits: Traits
    copy_source: CopySource | None  # None: no store can copy from it server-side

    async def head(self, key: str) -> ObjectMeta:
        """Return the metadata of the newest version. Raises ObjectNotFound."""

    async def read(self, key: str, start: int, length: int, *, version: str = "") -> ObjectData:
        """Read exactly the bytes [start, min(start + length, size)) of one version, raw as stored, in one request.

        `version` pins the read to one version; without it the newest is read. The read raises VersionChanged if that version
        is no longer available, or if the content changes during the call. A start at or past the end returns b"".
        A short or broken body MUST raise, never return fewer bytes. `StoreError.partial` MAY carry the first bytes of a
        pinned range, so that a retry requests only the rest. Raises ObjectNotFound.
        """

    async def write(
        self, key: str, data: bytes, attributes: Attributes, checksums: Checksums, when: Precondition = ANY
    ) -> ObjectMeta:
        """Write a whole object in one request. The returned metadata carries the checksums that the store itself computed.

        A store that can check the body MUST refuse one that does not match `checksums` (ChecksumMismatch) and keep the
        old object. A write raises PreconditionFailed if `when` does not hold. `traits` says which preconditions the store
        supports; any other MUST raise Unsupported rather than be ignored.
        """

    async def write_stream(
        self, key: str, body: StreamedBody, attributes: Attributes, checksums: Checksums, when: Precondition = ANY
    ) -> ObjectMeta:
        """Write a whole object in one request whose body is not whole in memory; otherwise like `write`.

        Called only with digests of `traits.streamed_digests`, which the store MUST check. BodyFailed of the body passes
        unchanged, and the old object stays. The body MAY be read again for a request that is sent again.
        """

    async def start_upload(self, key: str, size: int, part_size: int, attributes: Attributes) -> Upload:
        """Begin a multipart write. Every part but the last is `part_size` bytes long."""

    async def write_part(self, upload: Upload, number: int, data: bytes, crc32c: str) -> Part:
        """Write part `number` (from 1; offset = (number - 1) * part_size). A part MAY be written again; the last write counts.

        With `traits.parallel_parts` parts may be written in any order and concurrently, else in order, one at a time.
        """

    async def finish_upload(
        self, upload: Upload, parts: Sequence[Part], checksums: Checksums, when: Precondition = ANY
    ) -> ObjectMeta:
        """Complete the upload and make the object visible, as `write` does. After an error the upload can still be aborted.

        Like `write_part` it raises UploadGone for an upload that was completed, aborted or has expired. It MAY instead
        return the earlier result, if this same upload was completed and only the response was lost.
        """

    async def abort_upload(self, upload: Upload) -> None:
        """Abort the upload and free its parts. Idempotent; an unknown upload is no error."""

    async def uploaded_parts(self, upload: Upload) -> list[Part]:
        """Return the complete parts that the store has of an upload, in order. Another process may have begun it.

        `crc32c` is the checksum that the store returns for the part, or that the adapter has verified; else "". `tag` is
        the one that `write_part` returned, or "" if the store does not report it. A completed or aborted upload raises
        UploadGone, or gives [] where the provider cannot know. Without `traits.resumable` the call raises Unsupported.
        """

    def uploads(self, prefix: str = "") -> AsyncIterator[Upload]:
        """List open uploads whose key starts with `prefix`, in any order; `traits.listed_uploads` says which are listed.

        `id`, `key` and `started_at` are set; the other fields may be 0 or empty.
        """

    async def copy_from(
        self, source: CopySource, found: ObjectMeta, key: str, attributes: Attributes, when: Precondition = ANY
    ) -> ObjectMeta:
        """Copy one version of a source object (`found`) server-side in one request; otherwise like `write`.

        Called only if `traits.copy_checksums` is not empty, the scopes are equal, and `found.size` is within
        `traits.copy_limit`. The object gets `attributes` and none of the source's. The call raises VersionChanged if the
        source no longer has that version. Without `traits.copy_exact`, a precondition raises Unsupported.
        """

    async def copy_part(self, upload: Upload, number: int, source: CopySource, found: ObjectMeta) -> Part:
        """Copy the bytes of one part from one version of a source object server-side; otherwise like `write_part`.

        Called only if `traits.part_copy_checksums` is not empty. It raises the errors of `copy_from`.
        """

    async def set_attributes(self, found: ObjectMeta, attributes: Attributes) -> ObjectMeta:
        """Give an object these attributes and none of its old ones, without sending its bytes. Its version MAY change.

        Called only with `traits.in_place`. `found` is the object as `head` described it: the call raises PreconditionFailed if
        its content has changed since, and MUST detect a change of its attributes as exactly as the provider can. It raises
        Unsupported for an object that the provider cannot change in place. The storage class stays.
        """

    async def make_folder(self, key: str) -> None:
        """Make the folder of a folder marker, and those above it. Idempotent. It stays when it becomes empty.

        Called only with `traits.folders`.
        """

    async def delete(self, key: str, when: Precondition = ANY) -> None:
        """Delete the newest version. Idempotent: an absent key is no error (with `when.replace` it is PreconditionFailed).

        Without `traits.delete_exact`, the store MUST still support `when.replace` for a version that is `kept`, and MUST
        raise Unsupported for any other. It MAY then hide a newer version for an instant, and MUST restore it.
        """

    def list(self, prefix: str = "", after: str = "") -> AsyncIterator[ObjectMeta]:
        """List objects whose key starts with `prefix` and sorts after `after`; attributes may be empty.

        The order is that of `traits.order`; `after` always compares by the bytes of the keys. A listing that is
        incomplete, or whose pages repeat, MUST raise. Memory is bounded by one page: where the provider answers by page, the
        result SHOULD be a `PagedListing`, which callers read by page (`ports.listing`). An object that changes during the
        listing may or may not be listed; one that does not change is listed once.
        """

    async def close(self) -> None:
        """Free connections and threads. Idempotent."""
