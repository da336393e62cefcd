"""A watched folder and what the ledger remembers of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from skyferry.ports import Ledger
from skyferry.watch.identity import Identity, look, mark


class KnownFolder:
    """Answers whether a folder is what it was when its objects were last seen."""

    def __init__(self, folder: Path, source: str, ledger: Ledger) -> None:
        """`source` is its name in the ledger."""
        self.path = folder
        self._source, self._ledger = source, ledger
        self._known: Identity | None = None
        self._place: tuple[int, int] | None = None  # where it was when it was accepted, or found the same

    async def is_known(self) -> bool:
        """Whether the ledger remembers what it is."""
        return bool(await self._ledger.identity(self._source))

    async def is_same(self) -> bool:
        """Whether it is there, and is what it was. One that nothing is known of is."""
        now = await asyncio.to_thread(look, self.path)
        if now is None:
            return False
        if self._known is not None and self._matches(self._known, now):
            return True
        text = await self._ledger.identity(self._source)  # another process may have accepted it, or a person decided
        self._known = Identity.parse(text) if text else None
        if self._known is None:
            return True
        if not self._known.is_same(now):
            return False
        self._place = now.place
        return True

    async def accept(self) -> None:
        """From now on it is what is there."""
        if now := await asyncio.to_thread(mark, self.path):
            self._known, self._place = now, now.place
            if await self._ledger.identity(self._source) != str(now):
                await self._ledger.identify(self._source, str(now))

    def _matches(self, known: Identity, now: Identity) -> bool:
        """While this process has it open no other folder gets its inode, should somebody remove the marker."""
        return known.is_same(now) or (not now.marker and self._place == now.place)
