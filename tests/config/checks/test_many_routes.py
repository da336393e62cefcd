"""Thousands of routes and stores: the checks of pairs look only at pairs that can meet."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from skyferry.config.checks.overlaps import MORE, OTHERS_MAX
from skyferry.config.load import Checked, check

MANY = 1_000
FIRST = {"url": "s3://a?region=eu-west-1"}
QUEUE = [{"name": "events", "url": "sqs://events?region=eu-west-1"}]


def _mixed(n: int) -> dict[str, Any]:
    """Routes between many stores, of which each leads to each in the end."""
    stores = {f"s{i}": {"url": f"s3://bucket-{i}?region=eu-west-1"} for i in range(n // 5)}
    routes = [
        {"from": f"s{i % len(stores)}", "to": f"s{(i * 7 + 1) % len(stores)}", "filter": {"prefix": f"in{i}/"}}
        | {"key": f"out{i}/{{key}}"}
        for i in range(n)
    ]
    return {"stores": stores, "routes": [r for r in routes if r["from"] != r["to"]]}


def _star(n: int) -> dict[str, Any]:
    routes = [{"from": "a", "to": "b", "key": f"{i}/{{key}}", "filter": {"prefix": f"p{i}/"}} for i in range(n)]
    return {"stores": {"a": FIRST, "b": {"url": "s3://b?region=eu-west-1"}}, "routes": routes}


def _movers(n: int) -> dict[str, Any]:
    star = _star(n)
    return star | {"routes": [route | {"after_copy": "delete-unchecked"} for route in star["routes"]]}


def _to_one(n: int) -> dict[str, Any]:
    stores = {"a": FIRST} | {f"s{i}": {"url": f"s3://bucket-{i}?region=eu-west-1"} for i in range(n)}
    return {"stores": stores, "routes": [{"from": f"s{i}", "to": "a", "key": "{bucket}/{key}"} for i in range(n)]}


def _folders(n: int) -> dict[str, Any]:
    stores = {f"{end}{i}": {"url": f"file:///srv/{end}/{end}{i}"} for i in range(n // 2) for end in "ab"}
    return {"stores": stores, "routes": [{"from": f"a{i}", "to": f"b{i}"} for i in range(n // 2)]}


def _urls(n: int) -> dict[str, Any]:
    place = "s3://{}?region=eu-west-1".format
    return {"routes": [{"from": place(f"a{i % 1000}"), "to": place(f"b{i}")} for i in range(n // 2)]}


def checked(file: Path, data: dict[str, Any]) -> Checked:
    data["routes"] = [{"name": f"r{i}"} | route for i, route in enumerate(data["routes"])]
    file.write_text(yaml.dump(data | {"queues": QUEUE}, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper)))
    return check(file, {})


def count_calls(file: Path) -> int:
    """Return the calls of Python functions that a check takes."""
    calls = 0

    def count(frame: object, event: str, arg: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        check(file, {})
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("make", [_mixed, _star, _movers, _to_one, _folders, _urls])
def test_ten_times_as_many_routes_take_at_most_twenty_times_the_calls(tmp_path: Path, make: Any) -> None:
    few, many = tmp_path / "few.yaml", tmp_path / "many.yaml"
    assert [checked(few, make(MANY // 10)).faults, checked(many, make(MANY)).faults] == [(), ()]
    assert count_calls(many) < 20 * count_calls(few)


def test_a_route_reports_the_first_of_many_that_give_objects_its_keys(tmp_path: Path) -> None:
    routes = [{"from": "a", "to": "b", "key": "all/{name}"} for _ in range(OTHERS_MAX + 5)]
    stores = {"a": FIRST, "b": {"url": "s3://b?region=eu-west-1"}}
    found = checked(tmp_path / "skyferry.yaml", {"stores": stores, "routes": routes})
    last = f"routes[{OTHERS_MAX + 4}].key"
    said = [each.message for each in found.warnings if each.where == last and "the same key" in each.message]
    whole = [f"gives the objects of route r{i} the same key: all/x.c" for i in range(OTHERS_MAX)]
    assert said == [*whole[:-1], whole[-1] + MORE]


def test_a_route_reports_the_first_of_many_whose_objects_it_deletes(tmp_path: Path) -> None:
    routes = [{"from": "a", "to": "b", "key": f"{i}/{{key}}"} for i in range(OTHERS_MAX + 5)]
    routes[7]["after_copy"] = "delete"
    stores = {"a": {"url": "file:///srv/a"}, "b": {"url": "file:///srv/b"}}
    found = checked(tmp_path / "skyferry.yaml", {"stores": stores, "routes": routes})
    others = [i for i in range(OTHERS_MAX + 1) if i != 7]
    whole = [f"deletes objects that route r{i} may not have copied yet" for i in others]
    assert [each.message for each in found.faults] == [*whole[:-1], whole[-1] + MORE]


def test_many_routes_that_may_overlap_hide_none_that_does(tmp_path: Path) -> None:
    """A route that deletes is a fault if another one takes the same objects for certain, and a warning if it may."""
    routes: list[dict[str, Any]] = [
        {"from": "a", "to": "b", "key": f"{i}/{{key}}", "filter": {"glob": [f"{i}/**"]}} for i in range(OTHERS_MAX + 5)
    ]
    routes += [{"from": "a", "to": "b"}, {"from": "a", "to": "b", "key": "m/{key}", "after_copy": "delete"}]
    stores = {"a": {"url": "file:///srv/a"}, "b": {"url": "file:///srv/b"}}
    found = checked(tmp_path / "skyferry.yaml", {"stores": stores, "routes": routes})
    assert [each.message for each in found.faults] == [
        f"deletes objects that route r{OTHERS_MAX + 5} may not have copied yet"
    ]


@pytest.mark.parametrize(
    ("one", "two", "meet"),
    [
        ({"filter": {"glob": ["in/**"]}}, {"filter": {"prefix": "in/"}}, True),
        ({"filter": {"glob": ["in/**"]}}, {"filter": {"prefix": "in/b/"}}, True),
        ({"filter": {"glob": ["in/**", "out/**"]}}, {"filter": {"prefix": "out/"}}, True),
        ({"filter": {"glob": ["in/**"]}}, {"filter": {"prefix": "out/"}}, False),
        ({"filter": {"prefix": "in/"}, "key": "x/{name}"}, {"filter": {"prefix": "in/"}, "key": "{stem}{ext}"}, False),
        ({"filter": {"prefix": "x/"}, "key": "x/{name}"}, {"filter": {"prefix": "x/"}}, True),
    ],
)
def test_the_index_leaves_out_only_routes_that_cannot_meet(
    tmp_path: Path, one: dict[str, Any], two: dict[str, Any], meet: bool
) -> None:
    stores = {name: {"url": f"s3://{name}?region=eu-west-1"} for name in "ab"}
    others = [{"from": "a", "to": "b", "key": f"{i}/{{key}}", "filter": {"prefix": f"{i}/"}} for i in range(5)]
    routes = [{"from": "a", "to": "b"} | route for route in (one, *others, two)]
    found = checked(tmp_path / "skyferry.yaml", {"stores": stores, "routes": routes})
    assert [each.where for each in found.warnings if "the same key" in each.message] == ["routes[6].key"] * meet


def test_yaml_that_is_wrong_has_the_message_of_the_parser_in_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "skyferry.yaml"
    for text in ("routes: [\n", "a: b: c\n", "a: 'x\n", "[" * 2000, "a: *b\n", "- x\n a: b\n", "a: \x01\n"):
        file.write_text(text)
        fast = check(file, {}).faults
        with monkeypatch.context() as patch:
            patch.setattr(yaml, "__with_libyaml__", False)
            assert check(file, {}).faults == fast != ()
