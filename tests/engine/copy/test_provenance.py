"""An object that has been at a store does not come back there, by whichever routes of whichever deployments."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle, islice

import pytest

from skyferry.engine.copy import provenance
from skyferry.engine.copy.attributes.carry import carry_attributes
from skyferry.model import Attributes, Change, Checksums, ObjectMeta, ObjectRef, Provider, Traits, Transfer
from skyferry.routing.routes import Route

MARKS = {name: name * 12 for name in "abcdefghijklm"}
NEW = ObjectMeta("k", 1, "v1", 1000.0)


def route(source: str, to: str, **given: object) -> Route:
    ends = Route("r", source, to, source_bucket=source, store_bucket=to)
    return replace(ends, **{"source_mark": MARKS[source], "store_mark": MARKS[to], **given})  # type: ignore[arg-type]  # by name


def carried(found: ObjectMeta, by: Route) -> ObjectMeta | str:
    """The copy, or the reason why there is none."""
    to = ObjectRef(Provider.FILE, by.store_bucket, "k")
    if reason := provenance.find_loop(found, by, to):
        return reason
    source = ObjectRef(Provider.FILE, by.source_bucket, found.key)
    transfer = Transfer("t", "r", Change.CREATED, source, by.source_store, by.store, "k", "e", "c", 1.0)
    return replace(
        found, attributes=carry_attributes(transfer, by, found, Checksums(), Traits()).attributes, modified=2000.0
    )


def travelled(*routes: Route) -> list[ObjectMeta | str]:
    found: list[ObjectMeta | str] = [NEW]
    for each in routes:
        if isinstance(last := found[-1], ObjectMeta):
            found.append(carried(last, each))
    return found[1:]


@pytest.mark.parametrize("ring", ["ab", "abc", "abcdef"])
def test_a_ring_ends_where_it_began(ring: str) -> None:
    """Whatever key it has there: each store gets it once."""
    pairs = list(zip(ring, ring[1:] + ring[0], strict=True))
    assert travelled(*(route(*pair) for pair in pairs))[-1] == "loop"
    assert len(travelled(*(route(*pair) for pair in pairs))) == len(ring)


def test_a_ring_of_unknown_stores_ends_by_the_number_of_hops() -> None:
    """As where a machine has another name each time."""
    names = islice(cycle("abcdefghijklm"), 20)
    pairs = zip(names, islice(cycle("abcdefghijklm"), 1, 21), strict=True)
    end = travelled(*(route(*pair, allow_loopback=True) for pair in pairs))
    assert end[-1] == "hops"
    assert len(end) == provenance.HOPS + 1
    last = end[-2]
    assert isinstance(last, ObjectMeta)
    assert len(last.attributes.metadata["skyferry-via"]) == 13 * provenance.HOPS - 1


def test_a_bucket_may_copy_within_itself_and_still_ends() -> None:
    """A first stage, then a second one, by prefixes."""
    end = travelled(*[route("a", "a")] * 20)
    assert isinstance(end[1], ObjectMeta)
    assert end[-1] == "hops"


def test_a_restore_goes_back() -> None:
    assert isinstance(travelled(route("a", "b"), route("b", "a", allow_loopback=True))[-1], ObjectMeta)


def test_what_a_person_asks_for_begins_anew() -> None:
    """`skyferry copy` knows no marks: what it brings back is taken on from there, as if it were new."""
    back = route("b", "a", allow_loopback=True, source_mark="", store_mark="")
    copy = travelled(route("a", "b"), back)[-1]
    assert isinstance(copy, ObjectMeta)
    assert "skyferry-via" not in copy.attributes.metadata
    assert isinstance(carried(copy, route("a", "c")), ObjectMeta)
    assert carried(copy, route("a", "b")) == "loop", "its very key at b is where it came from"


def test_folders_of_one_name_on_two_machines_are_not_one_store() -> None:
    """`source` there is not `source` here: what comes from there arrives."""
    out = route("a", "b", source_bucket="source")
    here = route("b", "c", store_bucket="source")
    assert isinstance(travelled(out, here)[-1], ObjectMeta)


@pytest.mark.parametrize("via", [",,", "x" * 10_000, ",".join(["x" * 12] * 100), "a\u00e9, ,"])
def test_metadata_is_untrusted_input(via: str) -> None:
    """It may keep an object from being copied on; it never makes it grow."""
    found = replace(NEW, attributes=Attributes(metadata={"skyferry-via": via}))
    made = carried(found, route("a", "b"))
    assert isinstance(made, str) or len(made.attributes.metadata["skyferry-via"]) <= provenance.VIA_MAX + 13


@pytest.mark.parametrize("text", ["", "x", "-1", "\u0661", "9" * 400])
def test_when_it_was_written_is_believed_as_a_number_alone(text: str) -> None:
    found = replace(NEW, attributes=Attributes(metadata={"skyferry-written": text}))
    assert provenance.original_time(found) == 1_000_000_000


def test_when_it_was_written_travels_in_rings_alone() -> None:
    """Through all copies."""
    first, second = travelled(route("a", "b", ring=True), route("b", "c", ring=True))
    assert isinstance(first, ObjectMeta)
    assert isinstance(second, ObjectMeta)
    assert provenance.original_time(second) == provenance.original_time(first) == 1_000_000_000
    (plain,) = travelled(route("a", "b"))
    assert isinstance(plain, ObjectMeta)
    assert "skyferry-written" not in plain.attributes.metadata
