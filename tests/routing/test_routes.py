"""Which transfers an event makes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from skyferry.config.settings import Settings
from skyferry.errors import ConfigError, EventError, NotFound
from skyferry.model import Change, ObjectEvent, ObjectRef, Position, Priority, Provider, transfer_id
from skyferry.routing.routes import FAIL, FEW, Routes


def routes(*given: dict[str, Any], **settings: Any) -> Routes:
    stores = {n: {"url": f"file://{n}"} for n in ("source", "destination", "archive")}
    filled = [{"name": f"r{i}", "from": "source", "to": "destination"} | r for i, r in enumerate(given)]
    return Routes(Settings.model_validate({"stores": stores, "routes": filled} | settings))


def created(key: str = "a/b.txt", **fields: Any) -> ObjectEvent:
    return replace(ObjectEvent("e1", Change.CREATED, ObjectRef(Provider.FILE, "source", key), 1e9), **fields)


def deleted(key: str = "a/b.txt", **fields: Any) -> ObjectEvent:
    return created(key, change=Change.DELETED, **fields)


def taken(compiled: Routes, event: ObjectEvent) -> list[tuple[str, str, str]]:
    return [(t.route, t.store, t.key) for t in compiled.match(event)]


def test_an_event_fans_out_to_every_route_that_takes_it() -> None:
    compiled = routes({}, {"to": "archive", "key": "old/{key}"}, {"filter": {"prefix": "z"}})
    assert taken(compiled, created()) == [("r0", "destination", "a/b.txt"), ("r1", "archive", "old/a/b.txt")]


def test_an_unknown_bucket_makes_no_transfer() -> None:
    compiled = routes({})
    assert compiled.match(created(source=ObjectRef(Provider.FILE, "other", "k"))) == []
    assert compiled.match(created(source=ObjectRef(Provider.AWS_S3, "source", "k"))) == []


@pytest.mark.parametrize(
    ("accept", "key", "takes"),
    [
        ({"prefix": "a/"}, "a/b.txt", True),
        ({"prefix": "b/"}, "a/b.txt", False),
        ({"suffix": ".txt"}, "a/b.txt", True),
        ({"suffix": ".csv"}, "a/b.txt", False),
        ({"glob": ["*.csv", "**/*.txt"]}, "a/b.txt", True),
        ({"glob": "*.txt"}, "a/b.txt", False),
        ({"exclude": ["**/b.*"]}, "a/b.txt", False),
        ({"prefix": "a/", "glob": ["**/*.txt"], "exclude": ["**/c*"]}, "a/b.txt", True),
    ],
)
def test_everything_in_a_filter_must_match(accept: dict[str, Any], key: str, takes: bool) -> None:
    assert bool(routes({"filter": accept}).match(created(key))) is takes


def test_a_delete_follows_only_the_routes_that_propagate_it() -> None:
    compiled = routes({}, {"to": "archive", "deletes": "propagate"})
    assert taken(compiled, deleted()) == [("r1", "archive", "a/b.txt")]


def test_the_delete_half_of_an_overwrite_makes_no_transfer() -> None:
    assert routes({"deletes": "propagate"}).match(deleted(overwritten=True)) == []


def test_an_event_may_name_its_destination_and_key() -> None:
    compiled = routes({}, {"to": "archive", "key": "old/{key}", "directed": True})
    event = created(destination=ObjectRef(Provider.FILE, "archive", "old/mine"))
    assert taken(compiled, event) == [("r1", "archive", "old/mine")]


def test_a_destination_is_reached_by_the_route_whose_filter_takes_the_key() -> None:
    ways = ({"filter": {"prefix": "z"}, "directed": True}, {"filter": {"prefix": "a"}, "directed": True})
    wanted = ObjectRef(Provider.FILE, "destination", "a-mine")
    assert taken(routes(*ways), created(destination=wanted)) == [("r1", "destination", "a-mine")]


@pytest.mark.parametrize(
    ("route", "key", "to", "hint"),
    [
        pytest.param({}, "public/a", "public/b", "directed: true", id="a right that nobody granted"),
        pytest.param({"directed": True}, "private/a", "public/b", "filter", id="outside of the filter"),
        pytest.param({"directed": True}, "public/secret1", "public/b", "filter", id="excluded by the filter"),
        pytest.param({"directed": True}, "public/a", "private/b", "public/", id="outside of the key space"),
        pytest.param({"directed": True, "key": "in/{key}"}, "public/a", "public/b", "in/public/", id="of the template"),
    ],
)
def test_an_event_directs_nothing_beyond_what_its_route_grants(
    route: dict[str, Any], key: str, to: str, hint: str
) -> None:
    compiled = routes({"filter": {"prefix": "public/", "exclude": ["**/secret*"]}} | route)
    with pytest.raises(EventError) as caught:
        compiled.match(created(key, destination=ObjectRef(Provider.FILE, "destination", to)))
    assert hint in caught.value.hint


@pytest.mark.parametrize("bucket", ["archive", "nowhere"])
def test_a_destination_that_no_route_reaches_is_an_event_error(bucket: str) -> None:
    with pytest.raises(EventError) as caught:
        routes({}).match(created(destination=ObjectRef(Provider.FILE, bucket, "mine")))
    assert "destination not configured" in caught.value.hint


def test_a_transfer_carries_what_the_event_said_and_defaults_from_route_and_settings() -> None:
    compiled = routes({"priority": "high"}, retry={"max_retries": 7})
    event = created(correlation_id="c", size=3, content_type="text/plain", traceparent="tp")
    [transfer] = compiled.match(event)
    assert transfer.id == transfer_id("r0", event, "destination", "a/b.txt")
    assert (transfer.change, transfer.source, transfer.source_store) == (event.change, event.source, "source")
    assert (transfer.event_id, transfer.correlation_id, transfer.occurred_at) == ("e1", "c", 1e9)
    assert (transfer.size, transfer.content_type, transfer.traceparent) == (3, "text/plain", "tp")
    assert (transfer.max_retries, transfer.priority) == (7, Priority.HIGH)
    [transfer] = compiled.match(replace(event, max_retries=0, priority=Priority.LOW))
    assert (transfer.max_retries, transfer.priority) == (0, Priority.LOW)


def test_deletes_of_one_version_are_different_work() -> None:
    """S3 names a delete marker when it is set, and when it is taken away; a position that counts tells deliveries apart."""
    compiled = routes({"deletes": "propagate"})
    marker = replace(deleted().source, version="marker")
    [one], [two], [again] = (compiled.match(deleted(event_id=i, source=marker)) for i in ("e1", "e2", "e1"))
    assert (one.id != two.id, one.id == again.id) == (True, True)
    at = Position("s3-sequencer", "0" * 32)
    same = [compiled.match(deleted(event_id=i, source=marker, position=at, format="s3"))[0].id for i in ("e1", "e2")]
    claimed = [compiled.match(deleted(event_id=i, source=marker, position=at))[0].id for i in ("e1", "e2")]
    assert (same[0] == same[1], claimed[0] == claimed[1]) == (True, False)


def test_the_bucket_of_an_event_may_differ_from_the_folder() -> None:
    stores = {"in": {"url": "sim://x/landing?seed=1", "bucket": "named"}, "out": {"url": "memory://o"}}
    compiled = Routes(Settings.model_validate({"stores": stores, "routes": [{"name": "r", "from": "in", "to": "out"}]}))
    [transfer] = compiled.match(created(source=ObjectRef(Provider.FILE, "named", "k")))
    assert (transfer.source_store, transfer.store) == ("in", "out")
    assert compiled.route("r").destination == (Provider.MEMORY, "o")


@pytest.mark.parametrize(("unfit", "usual"), [({}, True), ({"headers": "fail"}, True), ({"tags": "drop"}, False)])
def test_the_usual_handling_of_unfit_attributes_is_one_object(unfit: dict[str, str], usual: bool) -> None:
    """Each copy looks for this object, and does not compare settings."""
    (route,) = routes({"unfit": unfit})
    assert (route.unfit is FAIL) is usual


def test_a_route_is_found_by_name() -> None:
    compiled = routes({"metadata": {"team": "x"}, "filter": {"min_size": "1KiB", "max_age": "1d"}})
    route = compiled.route("r0")
    assert [route] == list(compiled)
    assert (route.metadata, route.min_size, route.max_size, route.max_age) == ({"team": "x"}, 1024, None, 86400.0)
    with pytest.raises(NotFound, match="nope"):
        compiled.route("nope")


@pytest.mark.parametrize("fault", [{"to": "nowhere"}, {"key": "{nope}"}, {"filter": {"glob": ["["]}}])
def test_routes_that_cannot_work_are_a_config_error(fault: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="r0"):
        routes(fault)


@pytest.mark.parametrize(
    ("url", "account", "mine"),
    [
        ("az://ours/images", "ours", True),
        ("az://ours/images", "", True),
        ("az://ours/images", "theirs", False),
        ("az://ours/images?endpoint=https://photos.example.org", "theirs", True),
        ("az://devstoreaccount1/images?endpoint=http://127.0.0.1:10000/devstoreaccount1", "theirs", True),
    ],
)
def test_an_event_of_another_account_is_of_another_container(url: str, account: str, mine: bool) -> None:
    """Behind a domain of one's own, events may call the account otherwise."""
    compiled = routes({}, stores={"source": {"url": url}, "destination": {"url": "file://destination"}})
    event = created(source=ObjectRef(Provider.AZURE_BLOB, "images", "cat.jpg", account=account))
    assert bool(compiled.match(event)) is mine
    assert (compiled.untaken(event).known, compiled.untaken(event).account) == (mine, "" if mine else account)
    one_of_ours = compiled.match(replace(event, source=replace(event.source, account="")))[0]
    assert compiled.leads(replace(one_of_ours, source=event.source)) is mine


def test_many_routes_take_what_each_of_them_takes_alone() -> None:
    filters = [
        {},
        {"prefix": "a/"},
        {"prefix": "a/b/"},
        {"glob": ["a/*/c"]},
        {"glob": ["a/b/**", "a/c/**"]},
        {"suffix": ".c"},
        {"glob": ["**/*.c"], "prefix": "a"},
        {"prefix": "a/", "exclude": ["a/b/**"]},
        {"glob": ["[ab]/**"]},
        {"prefix": "A/"},
    ]
    given = [
        {"name": str(i), "from": "source", "to": "destination", "key": f"{i}/{{key}}", "filter": f}
        for i, f in enumerate(filters)
    ]
    assert len(given) > FEW
    together, alone = routes(*given), [routes(one) for one in given]
    for key in ("a", "a/", "a/b", "a/b/c", "a/c/x", "a/b/x.c", "b/x.c", "", "A/x", "ab/x.c", "c"):
        event = created(key)
        assert together.match(event) == [transfer for one in alone for transfer in one.match(event)]
