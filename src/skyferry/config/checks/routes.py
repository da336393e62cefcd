"""Check routes: their stores, their patterns, their conflicts, and the objects that they would make."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from skyferry.config.checks import overlaps
from skyferry.config.checks.validate import ValidDocument
from skyferry.config.reading.document import Document
from skyferry.config.reading.faults import Place, format_place, suggest
from skyferry.config.settings import RouteSettings
from skyferry.config.urls import StoreUrl, resolve_store
from skyferry.routing.locations import StoreLocation
from skyferry.routing.patterns import PLACEHOLDERS, Template, compile_glob
from skyferry.routing.rings import find_rings
from skyferry.routing.routes import compile_filter
from skyferry.routing.samples import example_keys, render_key

TAGS_MAX = 10
RINGS_MAX = 10  # reported at most
Numbered = tuple[int, RouteSettings]


def check_routes(valid: ValidDocument, document: Document) -> None:
    """Report every fault and warning about routes."""
    settings = valid.settings
    routes = list(zip(valid.routes, settings.routes, strict=True))
    names: set[str] = set()
    hint = lru_cache(lambda name: suggest(name, settings.stores))
    for index, route in routes:
        place: Place = ("routes", index)
        if route.name in names:
            document.fault((*place, "name"), f"there are two routes {route.name}")
        names.add(route.name)
        for end, name in (("from", route.source), ("to", route.destination)):
            if name not in settings.stores and name not in valid.lost:
                document.fault((*place, end), f"there is no store {name!r}", hint(name))
        _patterns(place, route, document)
        _metadata(place, route, document)
        _tags(place, route, document)
    if not routes and not document.faults:
        document.warn(("routes",), "there are no routes, so nothing is copied")
    sound = [(i, r) for i, r in routes if ("routes", i) not in valid.impaired and _compiles(r)]
    folders = {name: _folder(valid, name) for name in settings.stores}
    for index, route in sound:
        _meaning(("routes", index), route, valid, folders, document)
    overlaps.check_moves(sound, document)
    overlaps.check_meetings(sound, document)
    _rings(sound, valid, document)


def _patterns(place: Place, route: RouteSettings, document: Document) -> None:
    try:
        Template.compile(route.key)
    except ValueError as error:
        there_are = " ".join(f"{{{name}}}" for name in PLACEHOLDERS)
        document.fault((*place, "key"), f"{route.key!r} {error}", f"Known: {there_are}.")
    _destinations(place, route.key, document)
    for setting, globs in (("glob", route.filter.glob), ("exclude", route.filter.exclude)):
        for text in globs:
            try:
                compile_glob(text)
            except ValueError as error:
                document.fault((*place, "filter", setting), f"{text!r} {error}")


def _destinations(place: Place, key: str, document: Document) -> None:
    """Report a template whose keys no store takes, or that a store takes for something else than it looks like."""
    below = (*place, "key")
    if not key:
        document.fault(below, "is empty, and so would be each key", "Use {key}, or leave the setting out.")
    elif ".." in key.split("/"):
        why = f"{key!r} has the folder .., but no key leads out of a bucket or a folder"
        document.fault(below, why, "Remove it, or use another store.")
    elif key.startswith("/"):
        why = f"{key!r} begins with a slash, so all copies get into a folder without a name"
        document.warn(below, why, f"Use {key.lstrip('/')!r}.")


def _metadata(place: Place, route: RouteSettings, document: Document) -> None:
    for name, value in route.metadata.items():
        below = (*place, "metadata", name)
        if name.startswith("skyferry-"):
            document.fault(below, "names that begin with skyferry- are reserved")
        elif not re.fullmatch(r"[a-z0-9_-]+", name):
            document.fault(below, "a name may contain only lower-case letters, digits, - and _")
        if not value.isprintable():
            document.fault(below, "a value may contain only printable characters")


def _tags(place: Place, route: RouteSettings, document: Document) -> None:
    """Check tags by the rules of Amazon and Azure."""
    if len(route.tags) > TAGS_MAX:
        document.fault((*place, "tags"), f"an object can have at most {TAGS_MAX} tags")
    for name, value in route.tags.items():
        if not 1 <= len(name) <= 128 or len(value) > 256:
            document.fault(
                (*place, "tags", name), "a tag can have a name of 1 to 128 characters and a value of at most 256"
            )
        elif not f"{name}{value}".isprintable():
            document.fault((*place, "tags", name), "a tag may contain only printable characters")


def _meaning(
    place: Place, route: RouteSettings, valid: ValidDocument, folders: Mapping[str, Path | None], document: Document
) -> None:
    template, accepts = Template.compile(route.key), route.filter
    if route.after_copy != "keep" and route.deletes == "propagate":
        why = "the delete of the source would propagate and delete the copy"
        document.fault((*place, "after_copy"), why, "Set deletes: ignore.")
    if route.after_copy == "delete":
        _unchecked(place, route, valid, document)
    if route.deletes == "propagate" and template.dated:
        why = "a delete on another day than the create would compute another key"
        document.fault((*place, "deletes"), why, "Set deletes: ignore, or a key without the date.")
    if accepts.max_size is not None and accepts.max_size < accepts.min_size:
        document.fault((*place, "filter", "max_size"), "is less than min_size, so nothing matches")
    if accepts.max_age is not None and accepts.max_age <= accepts.min_age:
        document.fault((*place, "filter", "max_age"), "is not more than min_age, so nothing matches")
    if route.source == route.destination:
        _itself(place, route, template, document)
    else:
        _nested(place, route, folders, document)
    _crowded(place, route, template, document)


def _unchecked(place: Place, route: RouteSettings, valid: ValidDocument, document: Document) -> None:
    """Report deletes without a precondition. They also delete a version that is written just before."""
    try:
        exact = resolve_store(valid.settings.stores[route.source]).profile.exact_deletes
    except (KeyError, ValueError):  # reported by another check
        return
    if not exact:
        why = f"deletes at store {route.source} cannot name a version: one that is written just before would be lost"
        hint = (
            "Set after_copy: keep; or delete-unchecked if the bucket keeps versions or objects are never overwritten."
        )
        document.fault((*place, "after_copy"), why, hint)


def _itself(place: Place, route: RouteSettings, template: Template, document: Document) -> None:
    takes = compile_filter(route.filter)
    for key in example_keys(route.filter, takes):
        made = render_key(template, key)
        if made == key:
            return document.fault((*place, "to"), "copies objects onto themselves", "Use another store, or set a key.")
        if takes(made):
            why = f"would copy its own copies for ever: {key}, {made}, {render_key(template, made)}"
            return document.fault((*place, "to"), why, "Exclude the copies with the filter.")
    return None


def _nested(place: Place, route: RouteSettings, folders: Mapping[str, Path | None], document: Document) -> None:
    source, destination = folders.get(route.source), folders.get(route.destination)
    if source and destination and source != destination and destination.is_relative_to(source):
        why = f"{destination.name} is inside the source folder, so copies would be copied for ever"
        document.fault((*place, "to"), why, "Use a folder outside the source.")


def _rings(routes: Sequence[Numbered], valid: ValidDocument, document: Document) -> None:
    """Report rings: routes that copy each other's copies."""
    places = {}
    for name, store in valid.settings.stores.items():
        with suppress(ValueError):  # reported by another check
            places[name] = StoreLocation.of(store, valid.settings.workspace)
    all_of_them = [route for _, route in routes]
    reported, deletes = 0, set[int]()
    for ring in find_rings(all_of_them, places):
        if reported == RINGS_MAX:
            break
        members = [all_of_them[i] for i in ring.routes]
        index = routes[max(ring.routes)][0]
        if len(members) == 1 and (
            members[0].source == members[0].destination or _is_reported(("routes", index, "to"), document)
        ):
            continue  # already reported
        why = f"takes its own copies again: {ring.describe(all_of_them)}"
        if any(route.allow_loopback for route in members):
            place: Place = (
                "routes",
                next(routes[i][0] for i in ring.routes if all_of_them[i].allow_loopback),
                "allow_loopback",
            )
            reported += 1
            document.fault(
                place,
                why,
                "Remove allow_loopback: with ring: allow, an object does not return to a store where it has been.",
            )
        elif silent := [i for i in ring.routes if all_of_them[i].ring != "allow"]:
            reported += 1
            names = " and ".join(all_of_them[i].name for i in sorted(silent))
            hint = (
                f"Exclude the copies with a filter; or set ring: allow of {names}, if the stores are to be kept alike."
            )
            document.fault(("routes", routes[max(silent)][0], "to"), why, hint)
        else:
            new = [i for i in ring.routes if i not in deletes]
            deletes.update(new)
            _deletes_in_a_ring([(routes[i][0], all_of_them[i]) for i in new], document)


def _deletes_in_a_ring(ring: Sequence[Numbered], document: Document) -> None:
    for index, route in ring:
        place = ("routes", index, "deletes")
        if route.deletes == "propagate" and not _is_reported(place, document):
            why = "deletes reach copies only: an object that is deleted at a copy stays at its origin, and comes back"
            document.warn(place, why, "Delete objects at the store where they were written last.")


def _is_reported(place: Place, document: Document) -> bool:
    return any(found.where == format_place(place) for found in (*document.faults, *document.warnings))


def _folder(valid: ValidDocument, name: str) -> Path | None:
    try:
        url = StoreUrl.parse(valid.settings.stores[name].url)
    except (KeyError, ValueError):
        return None
    return Path(os.path.realpath(url.path(valid.settings.workspace))) if url.on_disk else None


def _crowded(place: Place, route: RouteSettings, template: Template, document: Document) -> None:
    made: dict[str, str] = {}
    for key in example_keys(route.filter, compile_filter(route.filter)):
        if (other := made.setdefault(render_key(template, key), key)) != key:
            why = f"gives different objects one key: {other} and {key} both become {render_key(template, key)}"
            return document.warn((*place, "key"), why, "The newest of them wins. Use {key} to keep them apart.")
    return None


def _compiles(route: RouteSettings) -> bool:
    try:
        Template.compile(route.key)
        compile_filter(route.filter)
    except ValueError:
        return False
    return True
