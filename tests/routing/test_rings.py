"""Routes that take their own copies again, by way of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from skyferry.config.checks.routes import RINGS_MAX
from skyferry.config.load import Checked, check

FOLDERS = {name: {"url": f"file:///srv/{name}"} for name in "abcd"}


def checked(tmp_path: Path, *routes: dict[str, Any], **stores: str) -> Checked:
    named = [{"name": f"r{n}"} | route for n, route in enumerate(routes)]
    data = {"stores": FOLDERS | {name: {"url": url} for name, url in stores.items()}, "routes": named}
    file = tmp_path / "skyferry.yaml"
    file.write_text(yaml.safe_dump(data))
    return check(file, {})


def leads(source: str, to: str, key: str = "{key}", **given: Any) -> dict[str, Any]:
    return {"from": source, "to": to, "key": key} | given


RINGS: dict[str, list[dict[str, Any]]] = {
    "two": [leads("a", "b"), leads("b", "a")],
    "three": [leads("a", "b"), leads("b", "c"), leads("c", "a")],
    "four": [leads("a", "b"), leads("b", "c"), leads("c", "d"), leads("d", "a")],
    "keys that grow": [leads("a", "b", "from-a/{key}"), leads("b", "a", "from-b/{key}")],
    "by what a template adds": [leads("a", "b", "out/{key}"), leads("b", "a", filter={"prefix": "out/in/"})],
    "by what both filters want": [
        leads("a", "b", filter={"prefix": "in/"}),
        leads("b", "a", filter={"suffix": ".csv"}),
    ],
    "by a glob of the other": [leads("a", "b", "{stem}{ext}"), leads("b", "a", filter={"glob": ["*.q?"]})],
    "by the bucket's name": [leads("a", "b", "{bucket}/{key}"), leads("b", "a", "{name}")],
    "by the day": [leads("a", "b", "{yyyy}/{mm}/{dd}/{key}"), leads("b", "a")],
    "of one half excluded": [
        leads("a", "b", "from-a/{key}", filter={"exclude": ["from-b/**"]}),
        leads("b", "a", "other/{key}", filter={"exclude": ["from-a/from-a/**"]}),
    ],
}


@pytest.mark.parametrize("name", RINGS)
def test_a_ring_is_a_fault_unless_each_of_its_routes_declares_it(tmp_path: Path, name: str) -> None:
    routes = RINGS[name]
    (fault,) = checked(tmp_path, *routes).faults
    assert "takes its own copies again: " in fault.message
    assert fault.where == f"routes[{len(routes) - 1}].to"
    (fault,) = checked(tmp_path, *(r | {"ring": "allow"} for r in routes[:-1]), routes[-1]).faults
    assert f"ring: allow of r{len(routes) - 1}," in fault.hint
    assert checked(tmp_path, *(r | {"ring": "allow"} for r in routes)).faults == ()


def test_the_ring_is_printed_route_by_route(tmp_path: Path) -> None:
    (fault,) = checked(tmp_path, *RINGS["keys that grow"]).faults
    assert fault.message.endswith(
        "r0 (a to b) a/x.c as from-a/a/x.c, r1 (b to a) from-a/a/x.c as from-b/from-a/a/x.c, which r0 takes again"
    )


@pytest.mark.parametrize(
    "routes",
    [
        [leads("a", "b"), leads("b", "c"), leads("a", "c", "2/{key}")],
        [leads("a", "b", filter={"prefix": "x/"}), leads("b", "a", filter={"prefix": "y/"})],
        [leads("a", "b", "out/{key}"), leads("b", "a", filter={"prefix": "in/"})],
        [
            leads("a", "b", "from-a/{key}", filter={"exclude": ["from-b/**"]}),
            leads("b", "a", "from-b/{key}", filter={"exclude": ["from-a/**"]}),
        ],
        [leads("a", "b", filter={"suffix": ".raw"}), leads("b", "a", "{key}.jpg", filter={"suffix": ".raw"})],
    ],
    ids=["no way back", "prefixes", "a prefix that no copy has", "excluded", "suffixes"],
)
def test_what_ends_by_itself_is_none(tmp_path: Path, routes: list[dict[str, Any]]) -> None:
    found = checked(tmp_path, *routes)
    assert (found.faults, found.warnings) == ((), ())


@pytest.mark.parametrize(
    ("stores", "routes", "ring"),
    [
        (
            {"whole": "file:///srv/x", "part": "file:///srv/x/p"},
            [leads("part", "a"), leads("a", "whole", "p/{key}")],
            True,
        ),
        (
            {"whole": "file:///srv/x", "part": "file:///srv/x/p"},
            [leads("part", "a"), leads("a", "whole", "q/{key}")],
            False,
        ),
        ({"whole": "file:///srv/x", "part": "file:///srv/x/p"}, [leads("whole", "a"), leads("a", "part")], True),
        (
            {"whole": "file:///srv/x", "part": "file:///srv/x/p"},
            [leads("whole", "a", filter={"exclude": ["p/**"]}), leads("a", "part")],
            False,
        ),
    ],
)
def test_a_folder_within_another_is_a_way_back(
    tmp_path: Path, stores: dict[str, str], routes: list[dict[str, Any]], ring: bool
) -> None:
    found = checked(tmp_path, *routes, **stores)
    assert ["takes its own copies again" in fault.message for fault in found.faults] == [True] * ring


def test_a_link_to_a_folder_is_that_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    found = checked(tmp_path, leads("a", "b"), one=f"file://{tmp_path}/real", two=f"file://{tmp_path}/link")
    assert [fault.message for fault in found.faults] == ["has the same folder as one"]


def test_a_restore_in_a_ring_is_a_fault_whatever_is_declared(tmp_path: Path) -> None:
    """It would go round as often as the number of hops allows."""
    (fault,) = checked(
        tmp_path, leads("a", "b", ring="allow"), leads("b", "a", ring="allow", allow_loopback=True)
    ).faults
    assert fault.where == "routes[1].allow_loopback"


def test_deletes_in_a_ring_are_warned_of(tmp_path: Path) -> None:
    found = checked(tmp_path, leads("a", "b", ring="allow", deletes="propagate"), leads("b", "a", ring="allow"))
    assert [(w.where, "deletes reach copies only" in w.message) for w in found.warnings] == [
        ("routes[0].deletes", True)
    ]


def test_many_routes_are_looked_at_in_bounded_time(tmp_path: Path) -> None:
    """Each store to each other one: it ends, with a few faults for the rings that it met."""
    names = [f"s{n}" for n in range(8)]
    routes = [leads(one, two) for one in names for two in names if one != two]
    found = checked(tmp_path, *routes, **{name: f"file:///srv/{name}" for name in names})
    assert len(found.faults) == RINGS_MAX
