"""Local destination folders: one that the ledger knows is never made anew, nor taken for the empty mount point of its disk."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from skyferry.config.settings import Settings
from skyferry.config.urls import StoreUrl
from skyferry.discovery.absences.identity import NAME, Identity, look, mark, read_marker
from skyferry.discovery.folder.look import OWN
from skyferry.engine.resilience.monitor import Probe
from skyferry.errors import ConfigError, FolderMissing, LedgerError
from skyferry.ports import Ledger
from skyferry.routing.routes import Routes
from skyferry.status import HealthCheck
from skyferry.stores.local.blocking.bucket import Presence
from skyferry.wiring.identities import identities

EVERY = 5.0  # seconds between looks


@dataclass(frozen=True, slots=True)
class KnownDestination:
    """A folder that was filled before."""

    folder: Path
    identity: Identity | None = None  # None = only that it was there is known

    def presence(self) -> Presence:
        """For its store: while it is missing, or another folder is there, its work waits."""
        return Presence(FolderMissing, self._is_same, self.hint)

    @property
    def hint(self) -> str:
        """What to do."""
        mount = "mount its disk"
        if not self.identity:
            return f"{mount}, or create the folder"
        own = shlex.quote(os.path.abspath(self.folder / OWN))
        return (
            f"{mount}; or let this folder take its place: mkdir -p {own} && echo {self.identity.marker} > {own}/{NAME}"
        )

    def fault(self) -> str:
        """What is wrong with it now; "" = nothing. Blocking."""
        try:
            now = look(self.folder)
        except OSError as error:
            return error.strerror or str(error)
        if now is None:
            return "the folder does not exist"
        same = self._matches(now.marker, now.place)
        return "" if same else "the folder is not the one that was filled before"

    def _is_same(self, root: int) -> bool:
        info = os.fstat(root)
        return self._matches(read_marker(root), (info.st_dev, info.st_ino))

    def _matches(self, marker: str, place: tuple[int, int]) -> bool:
        """By the marker; one that lost it, by where it is: a mount point has another device than what is mounted there."""
        known = self.identity
        return known is None or marker == known.marker or (not marker and place == known.place)


async def known_destinations(
    ledger: Ledger, settings: Settings, routes: Routes, *, create: bool
) -> dict[str, KnownDestination]:
    """Those of the routes, by store. With `create` one that nothing is known of is made, where it lies in the workspace.

    Raises ConfigError for any other that is not there.
    """
    found: dict[str, KnownDestination] = {}
    meant = identities(settings)
    for name in dict.fromkeys(route.store for route in routes):
        url = StoreUrl.parse(settings.stores[name].url)
        if not url.on_disk:
            continue
        folder, source = url.path(settings.workspace), f"folder {meant[name]}"
        try:
            text = await ledger.identity(source)
            filled = bool(text) or await _filled(ledger, routes, name)
        except LedgerError:  # it says so again when it is needed
            continue
        if text:
            found[name] = KnownDestination(folder, Identity.parse(text))
        elif filled and not folder.is_dir():
            found[name] = KnownDestination(folder)
        else:
            if create:
                make(folder, url)
            await _remember(ledger, source, folder)
    return found


def make(folder: Path, url: StoreUrl) -> None:
    """Make a folder inside the workspace. Raises ConfigError for another that is not there: its disk may not be mounted."""
    if not Path(url.location).is_absolute():
        folder.mkdir(parents=True, exist_ok=True)
    elif not folder.is_dir():
        raise ConfigError("the folder does not exist", where=str(folder), hint="create it, or mount its disk")


def probes(destinations: Mapping[str, KnownDestination]) -> Sequence[Probe]:
    """For /ready, the status and the log: nothing is said until one is missing."""
    missed = False

    async def look_at_all() -> Sequence[HealthCheck]:
        nonlocal missed
        faults = {name: await asyncio.to_thread(known.fault) for name, known in destinations.items()}
        told = [
            f"{n}: {destinations[n].folder}: {fault} ({destinations[n].hint})" for n, fault in faults.items() if fault
        ]
        missed = missed or bool(told)
        return [HealthCheck("work", "folder_missing", "degraded" if told else "ok", "; ".join(told))] if missed else []

    return [Probe("folder_missing", look_at_all, EVERY)] if destinations else []


async def _filled(ledger: Ledger, routes: Routes, store: str) -> bool:
    """Whether the ledger has copies there."""
    for route in routes:
        if route.store == store:
            async for placed in ledger.placed(store, route.source_bucket):
                if placed.is_in(route.identities):
                    return True
    return False


async def _remember(ledger: Ledger, source: str, folder: Path) -> None:
    """Where no marker can be made nothing is: a device and an inode would be other ones after a reboot."""
    try:
        now = await asyncio.to_thread(mark, folder)
    except OSError:  # the first write meets it
        return
    if now and now.marker:
        await ledger.identify(source, str(now))
