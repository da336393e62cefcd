"""What routes need, worked out from the configuration alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.policy.lab import settings

from skyferry.policy import google
from skyferry.policy.needs import RequiredAccess, StoreAccess, required_access, shortest_prefixes
from skyferry.routing.patterns import Template
from skyferry.stores.gcs.upload import SCRATCH

STORES = {
    "s3": {"url": "s3://photos?region=eu-west-1"},
    "other": {"url": "s3://copies?region=eu-west-1"},
    "r2": {"url": "s3://r2?endpoint=https://x.r2.cloudflarestorage.com&identity=static"},
    "gs": {"url": "gs://archive"},
    "az": {"url": "az://account/container"},
    "lake": {"url": "az://account/lake", "hierarchical": True},
    "folder": {"url": "file://folder"},
}


def of(folder: Path, *routes: dict[str, Any], queues: Any = (), **flags: bool) -> RequiredAccess:
    document: dict[str, Any] = {
        "stores": STORES,
        "routes": [{"name": f"r{n}", **route} for n, route in enumerate(routes)],
    }
    return required_access(settings(folder, document | ({"queues": queues} if queues else {})), **flags)


def one(found: RequiredAccess, name: str) -> StoreAccess:
    [store] = [store for store in found.stores if store.name == name]
    return store


def test_only_what_is_at_a_cloud_and_in_a_route_needs_anything(tmp_path: Path) -> None:
    """Not a store that no route names, nor a folder, nor the embedded queue."""
    found = of(tmp_path, {"from": "folder", "to": "gs"})
    assert ([store.name for store in found.stores], found.queues) == (["gs"], ())


def test_prefixes_are_those_of_the_routes(tmp_path: Path) -> None:
    """What is read by the filter, what is written by the template, each once."""
    routes = (
        {"from": "s3", "to": "gs", "filter": {"prefix": "a/"}, "key": "x/{key}"},
        {"from": "s3", "to": "gs", "filter": {"prefix": "a/b/"}, "key": "y/{name}"},
        {"from": "s3", "to": "az", "filter": {"prefix": "c/"}, "after_copy": "delete"},
    )
    found = of(tmp_path, *routes)
    assert (one(found, "s3").read, one(found, "s3").removed, one(found, "s3").written) == (("a/", "c/"), ("c/",), ())
    assert (one(found, "gs").read, one(found, "gs").written) == ((), ("x/a/", "y/"))


@pytest.mark.parametrize(
    ("template", "start"),
    [
        ("{key}", "a/b/c"),
        ("x/{key}", "x/a/b/c"),
        ("{dir}/{name}", "a/b"),
        ("{bucket}/{dir}-{stem}", "photos/a/b"),
        ("x/{yyyy}/{key}", "x/"),
        ("{name}", ""),
        ("{{/{ext}", "{/"),
    ],
)
def test_what_a_template_begins_with(template: str, start: str) -> None:
    """For sure: as much as every key has in common that is rendered from keys that begin with a/b/c."""
    assert Template.compile(template).start("photos", "a/b/c") == start


def test_a_prefix_that_another_covers_is_left_out() -> None:
    """Also one that is every key's."""
    assert shortest_prefixes(["b/", "a/b", "a/", "a/b/c"]) == ("a/", "b/")
    assert shortest_prefixes(["b/", ""]) == ("",)


@pytest.mark.parametrize(
    ("source", "destination", "tags", "tagged"),
    [
        ("s3", "az", {}, True),
        ("gs", "az", {}, False),
        ("gs", "az", {"a": "b"}, True),
        ("s3", "gs", {"a": "b"}, False),
        ("r2", "az", {}, False),
        ("lake", "s3", {}, False),
        ("s3", "lake", {}, False),
        ("folder", "s3", {}, True),
    ],
)
def test_tags_are_written_where_there_can_be_any(
    tmp_path: Path, source: str, destination: str, tags: dict[str, str], tagged: bool
) -> None:
    """Where both ends have them, or where the route sets some and the destination has them."""
    found = of(tmp_path, {"from": source, "to": destination, "tags": tags})
    assert one(found, destination).tags_written is tagged


def test_objects_are_large_unless_the_route_says_not(tmp_path: Path) -> None:
    """By the size above which they go in parts, 5 MiB here."""
    sizes = {None: True, "5MiB": False, "6MiB": True}
    for most, large in sizes.items():
        found = of(tmp_path, {"from": "s3", "to": "other", "filter": {"max_size": most}})
        assert one(found, "other").large is large


@pytest.mark.parametrize(
    ("source", "submit", "push", "sent"),
    [
        ("s3", False, "", [False, False]),
        ("s3", True, "", [True, False]),
        ("folder", False, "", [True, False]),
        ("s3", False, "second", [False, True]),
    ],
)
def test_messages_are_put_where_something_puts_them(
    tmp_path: Path, source: str, submit: bool, push: str, sent: list[bool]
) -> None:
    """Into the first queue by watched folders and by who submits; into any by a door of the server."""
    queues = [{"name": name, "url": f"sqs://{name}?region=eu-west-1"} for name in ("first", "second")]
    doors = [{"name": "d", "kind": "s3", "queue": push, "secret_env": "X"}] if push else []
    document = {
        "stores": STORES,
        "routes": [{"name": "r", "from": source, "to": "gs"}],
        "queues": queues,
        "push": doors,
    }
    assert [queue.sent for queue in required_access(settings(tmp_path, document), submit=submit).queues] == sent


def test_canaries_are_written_only_if_doctor_is_asked_for(tmp_path: Path) -> None:
    """And only at destinations."""
    route = {"from": "s3", "to": "gs", "key": "x/{key}"}
    assert one(of(tmp_path, route), "gs").written == ("x/",)
    found = of(tmp_path, route, doctor=True)
    assert (one(found, "gs").written, one(found, "s3").written) == (("skyferry-doctor/", "x/"), ())


def test_what_adapters_know_too_is_the_same_here() -> None:
    """The pure part imports none of them."""
    assert google.SCRATCH == SCRATCH
