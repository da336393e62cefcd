"""Try what Skyferry assumes of a destination: preconditions, and checksums that are refused and returned.

Traits are data about a kind of service. The server at an endpoint may be another, or an older one that ignores a header.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from skyferry.doctor.check import Check, CheckSubject
from skyferry.engine.copy.digests import digest_bytes
from skyferry.errors import ChecksumMismatch, PreconditionFailed, SkyferryError
from skyferry.frozen import dataclass
from skyferry.model import Attributes, Checksums, ObjectMeta
from skyferry.ports import ANY, ObjectStore, Precondition

OTHER = b"Skyferry tries whether this is refused.\n"
REFUSED = "refused"  # begins the names of promises that a copy can do without
PROVEN = "Copies are proven by the checksum that the service returns: a damaged object is deleted, but may be read until then."
HINT = (
    "Set `service` of the store to what the endpoint is, or to `other`, which relies on none of these; `skyferry conformance` "
    "tests everything."
)


@dataclass(slots=True)
class PromiseTrial:
    """The trials of one destination, on one key that has a canary. The caller deletes it."""

    store: ObjectStore
    key: str
    made: ObjectMeta  # the object under the key
    data: bytes  # its content

    async def check(self, place: CheckSubject) -> Check:
        """Return one result for all promises. Raises nothing of the store."""
        kept: list[str] = []
        broken: list[str] = []
        async for name, fault in self._run():
            (broken if fault else kept).append(f"{name}: {fault}" if fault else name)
        if broken and all(fault.startswith(REFUSED) for fault in broken):
            return place.unknown("promises", "; ".join(broken), PROVEN)
        if broken:
            return place.wrong("promises", "; ".join(broken), HINT)
        return place.ok("promises", ", ".join(kept))

    async def _run(self) -> AsyncIterator[tuple[str, str]]:
        """Yield each promise with its fault; "" = it is kept."""
        traits = self.store.traits
        sent = digest_bytes(self.data, traits.checksums_returned)
        if not sent.comparable_with(self.made.checksums):
            yield (
                "returned checksums",
                f"the answer to a write has none of {', '.join(sorted(traits.checksums_returned))}",
            )
        elif name := sent.find_conflict(self.made.checksums):
            yield "returned checksums", f"the {name} is not that of the bytes sent"
        if traits.create_only:
            yield "create only", await self._refuse(Precondition(create_only=True), "an object that was there")
        if traits.replace_exact:
            yield "replace exactly", await self._replace()
        for name in sorted(traits.checksums_returned):
            wrong = digest_bytes(OTHER, frozenset({name}))
            yield f"{REFUSED} {name}", await self._refuse(ANY, "bytes that differ from their checksum", wrong)

    async def _replace(self) -> str:
        first = self.made.version
        try:
            self.made = await self._write(OTHER, Precondition(replace=first))
        except SkyferryError as error:
            return f"a write over the version that is there was refused: {error.message}"
        return await self._refuse(Precondition(replace=first), "a version that was gone")

    async def _refuse(self, when: Precondition, what: str, checksums: Checksums | None = None) -> str:
        """Make a write that must be refused. Return the fault, or ""."""
        expected = ChecksumMismatch if checksums else PreconditionFailed
        try:
            self.made = await self._write(self.data, when, checksums)
        except expected:
            return ""
        except SkyferryError as error:
            return f"expected {expected.__name__}, but {type(error).__name__} came: {error.message}"
        return f"the service accepted {what}" if checksums else f"the service wrote over {what}"

    async def _write(self, data: bytes, when: Precondition, checksums: Checksums | None = None) -> ObjectMeta:
        sent = checksums or digest_bytes(data, self.store.traits.checksums_returned)
        return await self.store.write(self.key, data, Attributes(content_type="text/plain"), sent, when)
