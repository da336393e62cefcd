"""A watched folder and its identity in the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from skyferry.discovery.absences.identity import Identity, mark_folder, read_identity
from skyferry.errors import InvalidKey, StoreUnavailable
from skyferry.ports import SourceIdentities


class KnownFolder:
    """A watched folder that can be compared with its last accepted identity."""

    def __init__(
        self, folder: Path, source: str, ledger: SourceIdentities, path_of: Callable[[str], str] = str
    ) -> None:
        """Take the folder's name in the ledger (`source`) and a function from a key to its path in the folder."""
        self.path = folder
        self._source, self._ledger, self._path_of = source, ledger, path_of
        self._known: Identity | None = None
        self._place: tuple[int, int] | None = None  # its device and inode at the last match

    async def is_known(self) -> bool:
        """Return True if the ledger has an identity of the folder."""
        return bool(await self._ledger.get_identity(self._source))

    async def is_same(self, key: str = "") -> bool:
        """Return True if the folder exists and has its known identity, or no identity is known.

        With a key, the mounts above the key must also be present. Raises StoreUnavailable, LedgerError.
        """
        if (now := await self._read(read_identity)) is None:
            return False
        if self._known is None or not self._matches(self._known, now) or self._missing_mounts(self._known, now):
            text = await self._ledger.get_identity(self._source)  # another process accepted it, or a person decided
            self._known = Identity.parse(text) if text else None
            if self._known is None:
                return True
            if not self._known.is_same(now) and not self._matches(self._known, now):
                return False
        if self._known.is_same(now):
            self._place = now.place
        return not (key and self._is_below(key, self._missing_mounts(self._known, now)))

    async def find_unmounted(self, keys: Iterable[str]) -> set[str]:
        """Return the keys below mounts that are missing now."""
        now = await self._read(read_identity)
        gone = self._missing_mounts(self._known, now) if now and self._known else ()
        return {key for key in keys if self._is_below(key, gone)} if gone else set()

    async def accept_identity(self) -> None:
        """Save the current identity as the known one. Missing mounts stay known until a person decides."""
        if now := await self._read(mark_folder):
            text = await self._ledger.get_identity(self._source)
            before = Identity.parse(text) if text else now
            mounts = before.mounts if before.is_same(now) else ()
            now = replace(now, mounts=tuple(sorted({*now.mounts, *mounts})))
            self._known, self._place = now, now.place
            if text != str(now):
                await self._ledger.set_identity(self._source, str(now))

    async def _read(self, read: Callable[[Path], Identity | None]) -> Identity | None:
        """Read the identity. Raises StoreUnavailable if no file descriptor is left or the disk does not answer."""
        try:
            return await asyncio.to_thread(read, self.path)
        except OSError as error:
            hint = "check that the disk answers, and raise the limit of open files (ulimit -n) if it is reached"
            raise StoreUnavailable(error.strerror or str(error), where=str(self.path), hint=hint) from error

    def _matches(self, known: Identity, now: Identity) -> bool:
        """Compare by inode if the marker was removed: an inode is not reused while this process has it open."""
        return known.is_same(now) or (not now.marker and self._place == now.place)

    def _missing_mounts(self, known: Identity, now: Identity) -> tuple[str, ...]:
        return tuple(mount for mount in known.mounts if mount not in now.mounts)

    def _is_below(self, key: str, mounts: Iterable[str]) -> bool:
        try:
            path = self._path_of(key)
        except InvalidKey:
            return False
        return any(path.startswith(f"{mount}/") for mount in mounts)
