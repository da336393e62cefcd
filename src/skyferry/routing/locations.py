"""The actual location of a store, whatever its name: rings of routes and provenance use it. Pure."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from urllib.parse import urlsplit

from skyferry.config.settings import StoreSettings
from skyferry.config.urls import is_loopback, resolve_store
from skyferry.frozen import dataclass

MARK = 6  # bytes of a mark, which is twice as many characters


@dataclass(frozen=True, slots=True)
class StoreLocation:
    """One bucket or folder; equal for two configurations of the same one."""

    parts: tuple[str, ...]
    folder: Path | None = None  # on this machine, with links resolved
    local: bool = False  # it exists on this machine alone

    @classmethod
    def of(cls, store: StoreSettings, workspace: Path) -> StoreLocation:
        """Locate a store. Raises ValueError for an invalid URL."""
        where = resolve_store(store)
        url = where.url
        if url.on_disk:
            folder = Path(os.path.realpath(url.path(workspace)))
            return cls(("file", str(folder)), folder, local=True)
        if not url.at_a_cloud:
            return cls((url.scheme, url.location), local=True)
        endpoint = urlsplit(where.settings.endpoint)
        there = f"{endpoint.netloc.rpartition('@')[2]}{endpoint.path.rstrip('/')}".lower()
        host = endpoint.hostname or ""
        return cls((url.scheme, where.profile.namespace or there, url.bucket), local=bool(host) and is_loopback(host))

    def identity(self, workspace: Path) -> str:
        """Return the identity of the store in a ledger. Folders in the workspace are relative, for they move along with it."""
        if self.folder is None:
            return " ".join(self.parts)
        home = Path(os.path.realpath(workspace))
        inside = self.folder.is_relative_to(home)
        return f"file {self.folder.relative_to(home).as_posix() if inside else self.folder}"

    def mark(self, machine: str) -> str:
        """Return a short name for metadata, equal on all machines that reach the same store; `machine` names this machine."""
        text = "\0".join((*self.parts, machine if self.local else ""))
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=MARK).hexdigest()

    def shows(self, key: str, other: StoreLocation) -> str | None:
        """Return the key in another store under which an object written here appears, or None."""
        if self.parts == other.parts:
            return key
        if self.folder is None or other.folder is None:
            return None
        if self.folder.is_relative_to(other.folder):
            return f"{self.folder.relative_to(other.folder).as_posix()}/{key}"
        if other.folder.is_relative_to(self.folder):
            below = f"{other.folder.relative_to(self.folder).as_posix()}/"
            return key[len(below) :] or None if key.startswith(below) else None
        return None

    def meets(self, other: StoreLocation) -> bool:
        """Return whether an object written here may appear in the other store."""
        if self.folder is None or other.folder is None:
            return self.parts == other.parts
        return self.folder.is_relative_to(other.folder) or other.folder.is_relative_to(self.folder)
