"""A watched folder and what the ledger remembers of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from skyferry.discovery.absences.identity import Identity, look, mark
from skyferry.errors import InvalidKey, StoreUnavailable
from skyferry.ports import SourceIdentities


class KnownFolder:
    """Answers whether a folder is what it was when its objects were last seen."""

    def __init__(
        self, folder: Path, source: str, ledger: SourceIdentities, path_of: Callable[[str], str] = str
    ) -> None:
        """`source` is its name in the ledger; `path_of` gives the path in the folder of a key."""
        self.path = folder
        self._source, self._ledger, self._path_of = source, ledger, path_of
        self._known: Identity | None = None
        self._place: tuple[int, int] | None = None  # where it was when it was accepted, or found the same

    async def is_known(self) -> bool:
        """Whether the ledger remembers what it is."""
        return bool(await self._ledger.get_identity(self._source))

    async def is_same(self, key: str = "") -> bool:
        """Whether it is there, and is what it was. One that nothing is known of is. Raises StoreUnavailable, LedgerError.

        With a key, what was mounted above it must be mounted, too.
        """
        if (now := await self._now(look)) is None:
            return False
        if self._known is None or not self._matches(self._known, now) or self._away(self._known, now):
            text = await self._ledger.get_identity(self._source)  # another process accepted it, or a person decided
            self._known = Identity.parse(text) if text else None
            if self._known is None:
                return True
            if not self._known.is_same(now) and not self._matches(self._known, now):
                return False
        if self._known.is_same(now):
            self._place = now.place
        return not (key and self._below(key, self._away(self._known, now)))

    async def away(self, keys: Iterable[str]) -> set[str]:
        """Those of the keys that are below what was mounted and is not."""
        now = await self._now(look)
        gone = self._away(self._known, now) if now and self._known else ()
        return {key for key in keys if self._below(key, gone)} if gone else set()

    async def accept(self) -> None:
        """From now on it is what is there. What is not mounted any more stays known, until a person decides."""
        if now := await self._now(mark):
            text = await self._ledger.get_identity(self._source)
            before = Identity.parse(text) if text else now
            mounts = before.mounts if before.is_same(now) else ()
            now = replace(now, mounts=tuple(sorted({*now.mounts, *mounts})))
            self._known, self._place = now, now.place
            if text != str(now):
                await self._ledger.set_identity(self._source, str(now))

    async def _now(self, how: Callable[[Path], Identity | None]) -> Identity | None:
        """Raises StoreUnavailable if that cannot be known: no file descriptor is left, or the disk does not answer."""
        try:
            return await asyncio.to_thread(how, self.path)
        except OSError as error:
            hint = "see that the disk answers, and the limit of open files (ulimit -n)"
            raise StoreUnavailable(error.strerror or str(error), where=str(self.path), hint=hint) from error

    def _matches(self, known: Identity, now: Identity) -> bool:
        """While this process has it open no other folder gets its inode, should somebody remove the marker."""
        return known.is_same(now) or (not now.marker and self._place == now.place)

    def _away(self, known: Identity, now: Identity) -> tuple[str, ...]:
        return tuple(mount for mount in known.mounts if mount not in now.mounts)

    def _below(self, key: str, mounts: Iterable[str]) -> bool:
        try:
            path = self._path_of(key)
        except InvalidKey:
            return False
        return any(path.startswith(f"{mount}/") for mount in mounts)
