"""Open uploads in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

from skyferry.ledgers.memory.state import Key, LedgerPart, MemoryUpload, key_of
from skyferry.model import Claim, Progress


class MemoryUploads(LedgerPart):
    """The `UploadLog` part of a ledger."""

    async def save_progress(self, saves: Sequence[tuple[Claim, Progress]]) -> list[bool]:
        await self._step()
        now, answers = self._clock.time(), []
        for claim, progress in saves:
            answers.append(self._state.find_lease(claim) is not None)
            if answers[-1]:
                self._save(key_of(claim), progress, now)
        return answers

    async def list_uploads(self) -> AsyncIterator[Progress]:
        await self._step()
        uploads = [replace(upload.view(self._clock.time()), parts=()) for upload in self._state.uploads.values()]
        for progress in sorted(uploads, key=lambda progress: -progress.age):
            yield progress

    async def close_uploads(self, store: str, ids: Sequence[str]) -> None:
        await self._step()
        for name in [name for name in self._state.uploads if name[0][0] == store and name[1] in ids]:
            del self._state.uploads[name]

    def _save(self, key: Key, progress: Progress, now: float) -> None:
        """Add its parts to those saved before."""
        known, name = self._state.uploads, (key, progress.upload.id)
        old = known[name].progress.parts if name in known else ()
        parts = {part.number: part for part in (*old, *progress.parts)}
        known[name] = MemoryUpload(replace(progress, parts=tuple(parts[n] for n in sorted(parts))), now)


def of_destination(uploads: Mapping[tuple[Key, str], MemoryUpload], key: Key, now: float) -> tuple[Progress, ...]:
    """Return the open uploads to a destination key."""
    return tuple(upload.view(now) for (destination, _), upload in uploads.items() if destination == key)
