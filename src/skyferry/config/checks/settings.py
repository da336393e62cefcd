"""Check stores, queues, the ledger and the server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from skyferry.config.checks import clouds as cloud_checks
from skyferry.config.checks import namesakes
from skyferry.config.checks import notifications as notification_checks
from skyferry.config.checks import regions as region_checks
from skyferry.config.checks import routes as route_checks
from skyferry.config.checks.validate import ValidDocument
from skyferry.config.reading.document import Document
from skyferry.config.reading.faults import Place
from skyferry.config.reading.files import find_file_in_path
from skyferry.config.settings import ServerSettings, Settings, SimulatorSettings, StoreSettings
from skyferry.config.units import parse_window
from skyferry.config.urls import LedgerUrl, QueueUrl, StoreUrl, Url, is_loopback, resolve_queue, resolve_store
from skyferry.routing.locations import StoreLocation

U = TypeVar("U", bound=Url[Any])
STEP = 256 * 2**10  # bytes: all but the last part of a resumable upload are multiples of it


def check_settings(valid: ValidDocument, document: Document) -> None:
    """Report every fault and warning."""
    if file := find_file_in_path(valid.settings.workspace):
        document.fault(("workspace",), f"{file} is a file, not a folder", "Name a folder, which is made if need be.")
    _stores(valid, document)
    namesakes.check_namesakes(valid, document)
    _databases(valid, document)
    _server(valid.settings.server, document)
    _push(valid, document)
    notification_checks.check_notifications(valid, document)
    limits = valid.settings.limits
    if limits.memory < 2 * limits.part_size:
        least = 2 * limits.part_size
        document.fault(("limits", "memory"), "is less than two parts", f"Set at least {least}, or a smaller part_size.")
    if limits.part_size > STEP and limits.part_size % STEP and (name := _resumable(valid)):
        hint = f"Resumable uploads of store {name} require a multiple: set 8MiB, for example."
        document.fault(("limits", "part_size"), "is not a multiple of 256KiB", hint)
    route_checks.check_routes(valid, document)
    region_checks.check_regions(valid, document)


def _resumable(valid: ValidDocument) -> str:
    """Return the name of a destination with resumable uploads, or "". Smaller parts are enlarged there."""
    for route in valid.settings.routes:
        with suppress(KeyError, ValueError):  # reported by another check
            if resolve_store(valid.settings.stores[route.destination]).settings.large_upload_mode == "resumable":
                return route.destination
    return ""


def _stores(valid: ValidDocument, document: Document) -> None:
    seen: dict[object, str] = {}
    stated = _find_stated(valid)
    for name, store in valid.settings.stores.items():
        place = stated.get(name, ("stores", name))
        if "://" not in name and not (name.isascii() and name.replace("-", "").replace("_", "").isalnum()):
            document.fault(place, "the name may contain only letters, digits, - and _")
        at = place if place[0] == "routes" else (*place, "url")
        if not (url := _url(StoreUrl, store.url, at, document)):
            continue
        _simulated(store, url, place, document)
        _shared(store, url, valid.settings, place, document)
        if not cloud_checks.check_store(store, url, place, document):
            continue
        if not resolve_store(store).address[1]:
            document.fault(place, "the name of the folder is not valid for a bucket", "Set `bucket: NAME`.")
        for key, what in _identities(store, url, valid.settings.workspace):
            if (other := seen.setdefault(key, name)) != name:
                document.fault(
                    place, f"has the same {what} as {other}", "Remove one of them: events would be ambiguous."
                )
                break


def _push(valid: ValidDocument, document: Document) -> None:
    """Check that each endpoint has a unique name, a queue that exists, and safe URLs."""
    names, queues = set[str](), {queue.name for queue in valid.settings.queues}
    sound = not any(place[0] == "queues" for place in valid.impaired)
    for door in valid.settings.push:
        if door.name in names:
            document.fault(("push",), f"there are two endpoints {door.name}")
        names.add(door.name)
        if sound and door.queue and door.queue not in queues:
            document.fault(("push",), f"{door.name}: there is no queue {door.queue}", "Name a queue of `queues`.")
        for url in (door.keys_url, door.endpoint):
            cloud_checks.check_endpoint(url, False, ("push",), document)


def _find_stated(valid: ValidDocument) -> dict[str, Place]:
    """Return the places of stores that are not in `stores`, but by their URLs in routes."""
    found = dict[str, Place]()
    for index, route in zip(valid.routes, valid.settings.routes, strict=True):
        for name, end in ((route.source, "from"), (route.destination, "to")):
            if "://" in name:
                found.setdefault(name, ("routes", index, end))
    return found


def _identities(store: StoreSettings, url: StoreUrl, workspace: Path) -> Iterator[tuple[object, str]]:
    """Yield what no two stores may share. Buckets of one name may exist in different accounts or at different endpoints."""
    there = StoreLocation.of(store, workspace).parts if url.at_a_cloud else ()
    yield (*resolve_store(store).address, *there), "provider and bucket"
    if url.on_disk:
        yield os.path.realpath(url.path(workspace)), "folder"


def _shared(store: StoreSettings, url: StoreUrl, settings: Settings, place: Place, document: Document) -> None:
    """Check that other workers can have the store and the ledger whose limits they are to share."""
    if not store.shared_limits:
        return
    with suppress(ValueError):  # reported for the ledger itself
        if LedgerUrl.parse(settings.ledger.url).scheme == "memory":
            hint = "Set ledger.url to a ledger of several workers, or remove shared_limits."
            document.fault((*place, "shared_limits"), "the ledger is in the memory of one process", hint)
    if url.scheme == "memory":
        document.fault((*place, "shared_limits"), "the store is in the memory of one process", "Remove shared_limits.")


def _simulated(store: StoreSettings, url: StoreUrl, place: Place, document: Document) -> None:
    if url.scheme != "sim":
        if store.simulator != SimulatorSettings():
            document.warn((*place, "simulator"), "is ignored", f"Set url: sim://{url.location}.")
        return
    try:
        windows = url.simulator(store.simulator).outages
    except ValueError as error:
        document.fault(place, f"the options of {store.url!r} are not valid", str(error))
        windows = ()
    for text in windows:
        try:
            parse_window(text)
        except ValueError as error:
            document.fault((*place, "simulator", "outages"), str(error))


def _databases(valid: ValidDocument, document: Document) -> None:
    """Check that each queue and the ledger have their own file, outside the folders of stores."""
    settings, names = valid.settings, set[str]()
    found: list[tuple[Place, Url[Any] | None]] = []
    for index, queue in zip(valid.queues, settings.queues, strict=True):
        if queue.name in names:
            document.fault(("queues", index, "name"), f"there are two queues {queue.name}")
        names.add(queue.name)
        place: Place = ("queues", index, "url")
        at = _url(QueueUrl, queue.url, place, document)
        found.append((place, at))
        if at is not None:
            cloud_checks.check_queue(queue, at, place[:2], document)
    found += _dead_letters(valid, document)
    place = ("ledger", "url")
    at_ledger = _url(LedgerUrl, settings.ledger.url, place, document)
    found.append((place, at_ledger))
    if at_ledger is not None:
        cloud_checks.check_ledger(settings.ledger, at_ledger, document)
    files: set[Path] = set()
    for place, url in found:
        if url is None or not url.on_disk:
            continue
        file = Path(os.path.abspath(url.path(settings.workspace)))
        if file in files:
            document.fault(place, f"{url.location} is used twice", "Give each queue and the ledger its own file.")
        files.add(file)
        for name, folder in _folders(valid):
            if file.is_relative_to(folder):
                document.fault(
                    place, f"{url.location} is inside the folder of store {name}", "Move it out of the folder."
                )


def _dead_letters(valid: ValidDocument, document: Document) -> Iterator[tuple[Place, Url[Any] | None]]:
    """Check that dead letters go to a queue that outlives the process and that no worker reads."""
    if (letters := valid.settings.dead_letters) is None:
        return
    place: Place = ("dead_letters", "url")
    url = _url(QueueUrl, letters.url, place, document)
    yield place, url
    if url is None:
        return
    if url.known.shared_by == "process":
        document.fault(place, "is lost when the process ends", "Remove dead_letters: the ledger keeps them.")
    resolved = cloud_checks.check_queue(letters, url, place[:1], document)
    if resolved is None or not url.at_a_cloud:
        return
    for queue in valid.settings.queues:
        with suppress(ValueError):  # reported for the queue itself
            if cloud_checks.is_same_queue(resolve_queue(queue).settings, resolved):
                document.fault(
                    place, f"is the queue {queue.name}, so dead letters would come back", "Use another queue."
                )


def _folders(valid: ValidDocument) -> Iterator[tuple[str, Path]]:
    for name, store in valid.settings.stores.items():
        try:
            url = StoreUrl.parse(store.url)
        except ValueError:
            continue
        if url.on_disk:
            yield name, Path(os.path.abspath(url.path(valid.settings.workspace)))


def _server(server: ServerSettings, document: Document) -> None:
    place = ("server", "listen")
    host, colon, port = server.listen.rpartition(":")
    if not colon or not host or "/" in host or not port.isdecimal() or int(port) > 65535:
        document.fault(place, f"{server.listen!r} is not HOST:PORT", "Use 127.0.0.1:8080 or [::1]:8080, for example.")
    elif not is_loopback(host) and not (server.token or server.token_file):
        hint = "Set SKYFERRY_SERVER__TOKEN or server.token_file, or listen on 127.0.0.1."
        document.fault(place, f"{host} is reachable by other machines, and there is no token", hint)
    if server.token_file is not None:
        try:
            if not server.token_file.read_text().strip():
                document.fault(("server", "token_file"), f"{server.token_file} is empty")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            document.fault(("server", "token_file"), f"{server.token_file} cannot be read: {reason}")


def _url(kind: type[U], text: str, place: Place, document: Document) -> U | None:
    try:
        return kind.parse(text)
    except ValueError as error:
        document.fault(place, str(error))
        return None
