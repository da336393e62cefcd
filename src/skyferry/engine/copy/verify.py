"""Prove a transfer before it is done: the bytes read are those declared, the object written is the one sent."""

from __future__ import annotations

from contextlib import suppress

from skyferry.errors import ChecksumMismatch, ObjectNotFound, PreconditionFailed
from skyferry.model import NO_CHECKSUMS, Checksums, ObjectMeta, Traits, Transfer
from skyferry.ports import ANY, ObjectStore, Precondition

UNKEPT = "correct `service` of the store, which promises a checksum; `skyferry doctor` tries what it promises"
DIGESTS = ("crc32c", "crc64nvme", "sha256", "md5")  # the cheapest first; the first two combine from parts
UNPROVEN = "checksum (none was returned)"
_ONLY = {name: frozenset((name,)) for name in DIGESTS}
_NO_DIGEST = frozenset[str]()


def list_digests(checksums: Checksums) -> frozenset[str]:
    """Return the names of the digests that are set."""
    return frozenset(name for name in DIGESTS if getattr(checksums, name))


def digests_to_verify(found: Checksums, event: Checksums = NO_CHECKSUMS) -> frozenset[str]:
    """Return the digests of the bytes to compute: the cheapest that the source declares, and the cheapest of the event.

    That of the event is not needed if it can be compared with what the source declares, as `verify_source` does.
    """
    cheapest = _find_cheapest(found)
    return cheapest if event.comparable_with(found) else cheapest | _find_cheapest(event)


def _find_cheapest(checksums: Checksums) -> frozenset[str]:
    for name in DIGESTS:
        if getattr(checksums, name):
            return _ONLY[name]
    return _NO_DIGEST


def digest_returned(traits: Traits) -> frozenset[str]:
    """Return the cheapest digest that the destination returns for what it stores."""
    for name in DIGESTS:
        if name in traits.checksums_returned:
            return _ONLY[name]
    return _NO_DIGEST


def verify_source(transfer: Transfer, found: ObjectMeta, read: Checksums) -> Checksums:
    """Check the bytes read against the declarations of the source and the event, and return what is declared.

    The declarations are compared with each other too. Raises ChecksumMismatch.
    """
    event = transfer.checksums
    if event is NO_CHECKSUMS and not read.find_conflict(found.checksums):
        return found.checksums  # that of most events: it adds nothing
    for known, what, declared, origin in (
        (read, "the bytes read", found.checksums, "the source store"),
        (read, "the bytes read", event, "the event"),
        (found.checksums, "the source object", event, "the event"),
    ):
        if name := known.find_conflict(declared):
            raise ChecksumMismatch(
                f"{name} of {what} is not the one that {origin} declares",
                where=f"{transfer.source_store} {found.key}",
                hint="" if declared is found.checksums else "the object may have been overwritten since the event",
            )
    store = found.checksums
    return Checksums(
        crc32c=store.crc32c or event.crc32c,
        sha256=store.sha256 or event.sha256,
        md5=store.md5 or event.md5,
        crc64nvme=store.crc64nvme or event.crc64nvme,
    )


def find_fault(size: int, sent: Checksums, written: ObjectMeta) -> str:
    """Name what the destination has returned that does not prove the bytes sent; "" if they are proven."""
    if conflict := sent.find_conflict(written.checksums):
        return conflict
    if written.size != size:
        return "size"
    return "" if sent.comparable_with(written.checksums) else UNPROVEN


async def refuse_written(store: ObjectStore, key: str, written: ObjectMeta, fault: str) -> None:
    """Delete what was written, which is not what was sent, and raise ChecksumMismatch. `fault`: see `find_fault`.

    An answer without a version may come from another server, and nothing has been written: then nothing is deleted.
    """
    if written.version:
        with suppress(PreconditionFailed):  # it has been replaced already
            await delete_version(store, key, written.version)
    raise ChecksumMismatch(
        f"{fault} of the object written is not that of the bytes sent",
        where=f"{store.name} {key}",
        hint=UNKEPT if fault == UNPROVEN else "",
    )


async def verify_destination(store: ObjectStore, key: str, size: int, sent: Checksums, written: ObjectMeta) -> None:
    """Check what the destination returned. On a mismatch delete what was written and raise ChecksumMismatch."""
    if fault := find_fault(size, sent, written):
        await refuse_written(store, key, written, fault)


async def find_object(store: ObjectStore, key: str) -> ObjectMeta | None:
    """Return the metadata of the object under the key; None if there is none."""
    try:
        return await store.head(key)
    except ObjectNotFound:
        return None


async def delete_version(store: ObjectStore, key: str, version: str) -> None:
    """Delete this version and no other, as exactly as the store can. Raises PreconditionFailed."""
    exact = store.traits.delete_exact
    if not exact:
        found = await find_object(store, key)
        if found is None or found.version != version:
            raise PreconditionFailed
        exact = found.kept
    await store.delete(key, Precondition(replace=version) if exact else ANY)


def is_supported(when: Precondition, traits: Traits) -> bool:
    """Return True if writes to the store can demand this precondition."""
    return (traits.create_only or not when.create_only) and (traits.replace_exact or not when.replace)


def drop_unsupported(when: Precondition, traits: Traits) -> Precondition:
    """Drop a precondition that the store does not support. The destination was looked at just before."""
    return when if is_supported(when, traits) else ANY
