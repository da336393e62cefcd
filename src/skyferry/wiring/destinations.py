"""Local destination folders. One that the ledger knows is never created again, and never confused with an empty mount point."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from skyferry.config.settings import Settings
from skyferry.config.urls import StoreUrl, resolve_store
from skyferry.discovery.absences.identity import NAME, Identity, mark_folder, read_identity, read_marker
from skyferry.discovery.folder.inspector import OWN
from skyferry.engine.resilience.monitor import Probe
from skyferry.errors import ConfigError, FolderMissing, LedgerError
from skyferry.frozen import dataclass
from skyferry.ports import Ledger, Placements, SourceIdentities
from skyferry.routing.routes import Routes
from skyferry.status import Condition, HealthCheck
from skyferry.stores.local.blocking.bucket import ABSENT, REPLACED, ExpectedFolder
from skyferry.wiring.identities import identify_stores

EVERY = 5.0  # seconds between looks


@dataclass(frozen=True, slots=True)
class KnownDestination:
    """A folder that was filled before."""

    folder: Path
    identity: Identity | None = None  # None = the ledger has copies there, but no identity

    def expected(self) -> ExpectedFolder:
        """Return the condition for its store. Work waits while the folder is missing or another one is there."""
        return ExpectedFolder(FolderMissing, self._is_same, self.hint)

    @property
    def hint(self) -> str:
        """The instruction for the operator."""
        mount = "mount its disk"
        if not self.identity:
            return f"{mount}, or create the folder"
        own = shlex.quote(os.path.abspath(self.folder / OWN))
        return (
            f"{mount}; or let this folder take its place: mkdir -p {own} && echo {self.identity.marker} > {own}/{NAME}"
        )

    def fault(self) -> str:
        """Return what is wrong with it now; "" = nothing. Blocking."""
        try:
            now = read_identity(self.folder)
        except OSError as error:
            return error.strerror or str(error)
        if now is None:
            return ABSENT
        same = self._matches(now.marker, now.place)
        return "" if same else REPLACED

    def _is_same(self, root: int) -> bool:
        info = os.fstat(root)
        return self._matches(read_marker(root), (info.st_dev, info.st_ino))

    def _matches(self, marker: str, place: tuple[int, int]) -> bool:
        """Compare markers; without one, device and inode. A mount point has another device than the disk mounted there."""
        known = self.identity
        return known is None or marker == known.marker or (not marker and place == known.place)


async def known_destinations(
    ledger: Ledger, settings: Settings, routes: Routes, *, create: bool
) -> dict[str, KnownDestination]:
    """Return the known destinations of the routes, by store. With `create`, create an unknown one that lies in the workspace.

    Raises ConfigError for any other that is not there.
    """
    found: dict[str, KnownDestination] = {}
    meant = identify_stores(settings)
    for name in dict.fromkeys(route.store for route in routes):
        url = resolve_store(settings.stores[name]).url
        if not url.on_disk:
            continue
        folder, source = url.path(settings.workspace), f"folder {meant[name]}"
        try:
            text = await ledger.get_identity(source)
            missed = not text and not folder.is_dir() and await _filled(ledger, routes, name)
        except LedgerError:  # reported when it is used
            continue
        if text:
            found[name] = KnownDestination(folder, Identity.parse(text))
        elif missed:
            found[name] = KnownDestination(folder)
        else:
            if create:
                make_folder(folder, url)
            await _remember(ledger, source, folder)
    return found


def make_folder(folder: Path, url: StoreUrl) -> None:
    """Create a folder inside the workspace. Raises ConfigError for a missing one outside: its disk may not be mounted."""
    if not Path(url.location).is_absolute():
        folder.mkdir(parents=True, exist_ok=True)
    elif not folder.is_dir():
        raise ConfigError(ABSENT, where=str(folder), hint="create it, or mount its disk")


def probe_destinations(destinations: Mapping[str, KnownDestination]) -> Sequence[Probe]:
    """Return the probe for /ready, the status and the log. It reports nothing until a folder is missing."""
    missed = False

    async def look_at_all() -> Sequence[HealthCheck]:
        nonlocal missed
        faults = {name: await asyncio.to_thread(known.fault) for name, known in destinations.items()}
        away = tuple(name for name, fault in faults.items() if fault)
        problems = [f"{n}: {destinations[n].folder}: {faults[n]} ({destinations[n].hint})" for n in away]
        missed = missed or bool(problems)
        state: Condition = "degraded" if problems else "ok"
        return [HealthCheck("work", "folder_missing", state, "; ".join(problems), away)] if missed else []

    return [Probe("folder_missing", look_at_all, EVERY)] if destinations else []


async def _filled(ledger: Placements, routes: Routes, store: str) -> bool:
    """Return True if the ledger has copies there. If there are none, this reads all that other routes copied from the source."""
    for route in routes:
        if route.store == store:
            async for placed in ledger.list_placements(store, route.source_bucket):
                if placed.is_in(route.identities):
                    return True
    return False


async def _remember(ledger: SourceIdentities, source: str, folder: Path) -> None:
    """Record its identity if a marker can be written. Device and inode alone may change with a reboot."""
    try:
        now = await asyncio.to_thread(mark_folder, folder)
    except OSError:  # the first write meets it
        return
    if now and now.marker:
        await ledger.set_identity(source, str(now))
