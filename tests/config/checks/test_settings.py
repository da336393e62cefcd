"""What settings must be to one another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from skyferry.config.load import Checked, check

TWO = {"a": {"url": "file://a"}, "b": {"url": "file://b"}}


def checked(tmp_path: Path, data: dict[str, Any], **environ: str) -> Checked:
    file = tmp_path / "skyferry.yaml"
    file.write_text(yaml.safe_dump(data))
    return check(file, environ)


def route(**given: Any) -> dict[str, Any]:
    return {"stores": TWO, "routes": [{"name": "r", "from": "a", "to": "b"} | given]}


def stores(**given: Any) -> dict[str, Any]:
    return {"stores": TWO | {n: {"url": u} if isinstance(u, str) else u for n, u in given.items()}} | {
        "routes": [{"name": "r", "from": "a", "to": "b"}]
    }


def minio(**given: Any) -> dict[str, Any]:
    """A route from a service whose deletes are not exact."""
    there = {"url": "s3://m", "endpoint": "https://minio.example.org", "service": "minio"}
    return {"stores": {"m": there, "a": {"url": "file://a"}}, "routes": [{"name": "r", "from": "m", "to": "a"} | given]}


@pytest.mark.parametrize(
    ("data", "where", "message"),
    [
        (stores(c="file://x/a"), "stores.c", "same provider and bucket as a"),
        (stores(c={"url": "file://a", "bucket": "z"}), "stores.c", "same folder as a"),
        (stores(c="file://c/d/.."), "stores.c", "not valid for a bucket"),
        (stores(c="sim://c?seed=x"), "stores.c", "options of"),
        (stores(c={"url": "sim://c", "simulator": {"outages": "5s-2s"}}), "stores.c.simulator.outages", "window"),
        (stores(**{"c d": "file://c"}), "stores.c d", "letters, digits"),
        (route(to="a"), "routes[0].to", "onto themselves"),
        (route(to="a", key="{dir}/{stem}{ext}"), "routes[0].to", "onto themselves"),
        (route(to="a", key="copy/{key}"), "routes[0].to", "for ever: a/x.c, copy/a/x.c, copy/copy/a/x.c"),
        (route(to="a", key="in/{name}", filter={"glob": "in/*.c"}), "routes[0].to", "onto themselves"),
        (route(to="file://a/out"), "routes[0].to", "inside the source folder"),
        (route(to="file://"), "routes[0].to", "has no location"),
        (route(to="c"), "routes[0].to", "there is no store 'c'"),
        (route(key="{nope}"), "routes[0].key", "unknown placeholder {nope}"),
        (route(key=""), "routes[0].key", "is empty, and so would be each key"),
        (route(key="../{key}"), "routes[0].key", "no key leads out of a bucket or a folder"),
        (route(key="a/../{name}"), "routes[0].key", "no key leads out of a bucket or a folder"),
        (route(filter={"exclude": ["["]}), "routes[0].filter.exclude", "without its ]"),
        (route(after_copy="delete", deletes="propagate"), "routes[0].after_copy", "delete the copy"),
        (minio(after_copy="delete"), "routes[0].after_copy", "deletes at store m cannot name a version"),
        (minio(after_copy="delete-unchecked", deletes="propagate"), "routes[0].after_copy", "delete the copy"),
        (route(key="{yyyy}/{key}", deletes="propagate"), "routes[0].deletes", "another day"),
        (route(filter={"min_size": 2, "max_size": 1}), "routes[0].filter.max_size", "nothing matches"),
        (route(filter={"min_age": 2, "max_age": 2}), "routes[0].filter.max_age", "nothing matches"),
        (route(metadata={"skyferry-source": "x"}), "routes[0].metadata.skyferry-source", "reserved"),
        (route(metadata={"Team": "x"}), "routes[0].metadata.Team", "lower-case"),
        (route(metadata={"team": "a\nb"}), "routes[0].metadata.team", "printable"),
        (route(name="No Name"), "routes[0].name", "lower-case"),
        ({"ledger": {"url": "sqlite://queue.db"}}, "ledger.url", "used twice"),
        ({"ledger": {"url": "sqlite://source/l.db"}}, "ledger.url", "inside the folder of store source"),
        ({"ledger": {"url": "mysql://x"}}, "ledger.url", "not a known ledger URL"),
        ({"ledger": {"url": "redis+sentinel://x/m/l"}}, "ledger.url", "use redis://HOST,HOST/NAME?sentinel=PRIMARY"),
        ({"queues": [{"name": "q", "url": "memory://a"}] * 2}, "queues[1].name", "two queues q"),
        ({"limits": {"memory": "10MiB"}}, "limits.memory", "less than two parts"),
        (
            {**stores(b={"url": "file://b", "shared_limits": True}), "ledger": {"url": "memory://l"}},
            "stores.b.shared_limits",
            "the ledger is in the memory of one process",
        ),
        (
            stores(b={"url": "memory://b", "shared_limits": True}),
            "stores.b.shared_limits",
            "the store is in the memory",
        ),
        ({"server": {"listen": "8080"}}, "server.listen", "not HOST:PORT"),
        ({"server": {"listen": "http://127.0.0.1:8080"}}, "server.listen", "not HOST:PORT"),
        ({"server": {"listen": "127.0.0.1:99999"}}, "server.listen", "not HOST:PORT"),
        ({"server": {"listen": "0.0.0.0:80"}}, "server.listen", "there is no token"),
        ({"server": {"listen": "example.org:80"}}, "server.listen", "there is no token"),
        ({"server": {"token_file": "/absent"}}, "server.token_file", "cannot be read"),
    ],
)
def test_what_cannot_work_is_a_fault(tmp_path: Path, data: dict[str, Any], where: str, message: str) -> None:
    found = checked(tmp_path, data)
    assert [f.where for f in found.faults] == [where], found.faults
    assert message in found.faults[0].message
    assert found.faults[0].line is not None


@pytest.mark.parametrize(
    "data",
    [
        stores(c="file://x/c"),
        stores(b={"url": "file://b", "shared_limits": True, "requests_per_second": 0.1}),
        route(to="a", key="copy/{key}", filter={"exclude": "copy/**"}),
        route(to="a", key="{key}.bak", filter={"suffix": ".csv"}),
        route(to="file://ab"),
        route(after_copy="delete"),
        minio(after_copy="delete-unchecked") | {"queues": [{"name": "q", "url": "sqs://q"}]},
        minio(**{"from": "a", "to": "m"}, after_copy="delete"),
        route(key="{dir}/{stem}-{yyyy}{ext}"),
        {"server": {"listen": "localhost:0"}},
        {"server": {"listen": "[::1]:8080"}},
    ],
)
def test_what_works_has_neither_faults_nor_warnings(tmp_path: Path, data: dict[str, Any]) -> None:
    found = checked(tmp_path, data)
    assert (found.faults, found.warnings) == ((), ())


@pytest.mark.parametrize("key", ["{name}", "{dir}/x", "{stem}", "latest", "{yyyy}/{mm}"])
def test_a_template_that_gives_many_objects_one_key_is_a_warning(tmp_path: Path, key: str) -> None:
    found = checked(tmp_path, route(key=key))
    assert found.faults == ()
    assert [(w.where, "both become" in w.message) for w in found.warnings] == [("routes[0].key", True)]


def test_a_template_that_begins_with_a_slash_is_a_warning(tmp_path: Path) -> None:
    found = checked(tmp_path, route(key="/{key}"))
    assert found.faults == ()
    assert [(w.where, w.hint) for w in found.warnings] == [("routes[0].key", "Use '{key}'.")]


def pair(one: dict[str, Any], two: dict[str, Any]) -> dict[str, Any]:
    routes = [{"name": "one", "from": "a", "to": "c"} | one, {"name": "two", "from": "b", "to": "c"} | two]
    return {"stores": TWO | {"c": {"url": "file://c"}}, "routes": routes}


@pytest.mark.parametrize(
    ("one", "two", "message"),
    [
        ({}, {}, "gives objects a key that route one gives to others: a/x.c"),
        ({}, {"from": "a"}, "gives the objects of route one the same key: a/x.c"),
        ({"filter": {"prefix": "in/"}}, {}, "gives to others: in/a/x.c"),
        ({"key": "{key}.old", "filter": {"suffix": ".csv"}}, {"key": "{dir}/{name}.old"}, ".csv.old"),
    ],
)
def test_two_routes_that_give_one_key_are_a_warning(
    tmp_path: Path, one: dict[str, Any], two: dict[str, Any], message: str
) -> None:
    found = checked(tmp_path, pair(one, two))
    assert found.faults == ()
    assert [(w.where, message in w.message) for w in found.warnings] == [("routes[1].key", True)], found.warnings


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"key": "{bucket}/{key}"}, {"key": "{bucket}/{key}"}),
        ({"key": "a/{key}"}, {"key": "b/{key}"}),
        ({"filter": {"prefix": "x/"}}, {"filter": {"prefix": "y/"}}),
        ({"to": "b"}, {}),
    ],
)
def test_two_routes_whose_keys_differ_are_none(tmp_path: Path, one: dict[str, Any], two: dict[str, Any]) -> None:
    assert checked(tmp_path, pair(one, two)).warnings == ()


def moves(one: dict[str, Any], two: dict[str, Any]) -> dict[str, Any]:
    routes = [{"name": "one", "after_copy": "delete", "filter": one}, {"name": "two", "key": "2/{key}", "filter": two}]
    return {"stores": TWO, "routes": [{"from": "a", "to": "b"} | r for r in routes]}


def test_a_route_may_not_delete_what_another_has_yet_to_copy(tmp_path: Path) -> None:
    [fault] = checked(tmp_path, moves({"prefix": "x/"}, {"prefix": "x/y/"})).faults
    assert (fault.where, "may not have copied yet" in fault.message) == ("routes[0].after_copy", True)
    assert checked(tmp_path, moves({"prefix": "x/"}, {"prefix": "y/"})).faults == ()
    assert checked(tmp_path, moves({"suffix": ".a"}, {"suffix": ".b"})).faults == ()


def test_where_globs_may_keep_the_two_apart_it_is_a_warning(tmp_path: Path) -> None:
    found = checked(tmp_path, moves({"glob": "*.a"}, {"glob": "*.b"}))
    assert found.faults == ()
    assert [w.where for w in found.warnings] == ["routes[0].after_copy"]


def test_faults_of_a_simulator_that_is_none_are_a_warning(tmp_path: Path) -> None:
    [warning] = checked(tmp_path, stores(b={"url": "file://b", "simulator": {"throttle": 0.5}})).warnings
    assert (warning.where, warning.hint) == ("stores.b.simulator", "Set url: sim://b.")


def test_a_token_lets_others_in(tmp_path: Path) -> None:
    data = {"server": {"listen": "0.0.0.0:80"}}
    assert checked(tmp_path, data, SKYFERRY_SERVER__TOKEN="t" * 16).faults == ()
    token = tmp_path / "token"
    token.write_text("a secret of some length\n")
    assert checked(tmp_path, data, SKYFERRY_SERVER__TOKEN_FILE=str(token)).faults == ()
    token.write_text("\n")
    [fault] = checked(tmp_path, data, SKYFERRY_SERVER__TOKEN_FILE=str(token)).faults
    assert fault.where == "SKYFERRY_SERVER__TOKEN_FILE"
    assert "is empty" in fault.message


def test_a_store_with_a_faulty_setting_is_still_there_for_its_routes(tmp_path: Path) -> None:
    found = checked(tmp_path, stores(b={"url": 3.5, "requests_per_second": -1}))
    assert {f.where for f in found.faults} == {"stores.b.requests_per_second", "stores.b.url"}
