"""What must hold before a transfer is done: what was read is what was declared, what was written is what was sent."""

from __future__ import annotations

from contextlib import suppress

from skyferry.errors import ChecksumMismatch, ObjectNotFound, PreconditionFailed
from skyferry.model import Checksums, ObjectMeta, Traits, Transfer
from skyferry.ports import ANY, ObjectStore, Precondition

DIGESTS = ("crc32c", "crc64nvme", "sha256", "md5")  # the cheapest first; the first two combine from parts


def kinds(checksums: Checksums) -> frozenset[str]:
    """The digests that are known."""
    return frozenset(name for name in DIGESTS if getattr(checksums, name))


def needed(*declared: Checksums) -> frozenset[str]:
    """The digests to compute, so that every one who declares any can be believed: of each the cheapest."""
    return frozenset(next(n for n in DIGESTS if n in kinds(each)) for each in declared if kinds(each))


def provable(traits: Traits) -> frozenset[str]:
    """Return the cheapest digest that the destination returns for what it stores."""
    return frozenset([n for n in DIGESTS if n in traits.checksums_returned][:1])


def verify_source(transfer: Transfer, found: ObjectMeta, read: Checksums) -> Checksums:
    """What was read is what the event and the source declare; returns what was declared."""
    event = transfer.checksums
    for declared, who in ((found.checksums, "the source store"), (event, "the event")):
        if name := read.find_conflict(declared):
            raise ChecksumMismatch(
                f"{name} of the bytes read is not what {who} declares",
                where=f"{transfer.source_store} {found.key}",
                hint="" if declared is found.checksums else "the object may have been overwritten since the event",
            )
    return Checksums(**{n: getattr(found.checksums, n) or getattr(event, n) for n in DIGESTS})


async def verify_destination(store: ObjectStore, key: str, size: int, sent: Checksums, written: ObjectMeta) -> None:
    """The destination's own attestation matches; otherwise what was written is taken away again."""
    wrong = sent.find_conflict(written.checksums) or ("size" if written.size != size else "")
    if not wrong and not sent.comparable_with(written.checksums):
        wrong = "attestation (there is none)"
    if wrong:
        with suppress(PreconditionFailed):  # somebody has replaced it already
            await delete_version(store, key, written.version)
        raise ChecksumMismatch(
            f"{wrong} of the object written is not that of the bytes sent", where=f"{store.name} {key}"
        )


async def head(store: ObjectStore, key: str) -> ObjectMeta | None:
    """What the key holds; None if nothing."""
    try:
        return await store.head(key)
    except ObjectNotFound:
        return None


async def delete_version(store: ObjectStore, key: str, version: str) -> None:
    """Delete this version and no other, as exactly as the store can. Raises PreconditionFailed."""
    exact = store.traits.delete_exact
    if not exact:
        found = await head(store, key)
        if found is None or found.version != version:
            raise PreconditionFailed
        exact = found.kept
    await store.delete(key, Precondition(replace=version) if exact else ANY)


def honoured(when: Precondition, traits: Traits) -> bool:
    """Whether the store can hold it."""
    return (traits.create_only or not when.create_only) and (traits.replace_exact or not when.replace)


def weakened(when: Precondition, traits: Traits) -> Precondition:
    """What the store can hold of it; the destination was looked at just now."""
    return when if honoured(when, traits) else ANY
