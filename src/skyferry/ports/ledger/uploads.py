"""Multipart uploads under way, so that a restart resumes them and none is left behind unnoticed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from skyferry.model import Claim, Progress


class UploadLog(Protocol):
    """The record of open uploads. An upload is identified by its store and id.

    It stays until `Settlement.closed` or `close_uploads` names it, whatever the state of its transfer.
    """

    async def save_progress(self, saves: Sequence[tuple[Claim, Progress]]) -> list[bool]:
        """Record uploads to the keys of these claims. False: the fence is old, and nothing of that save is recorded.

        Parts are added to those saved before; a part saved again replaces its earlier record. Concurrent saves of one upload
        MUST lose no part: add parts as rows or fields, without reading the others.
        """

    def list_uploads(self) -> AsyncIterator[Progress]:
        """Iterate over all open uploads without their parts, the least recently saved first. Memory is bounded by a page."""

    async def close_uploads(self, store: str, ids: Sequence[str]) -> None:
        """Forget uploads that were finished or aborted. Idempotent."""
