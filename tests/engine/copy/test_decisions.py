"""The pure decisions, case by case."""

from __future__ import annotations

from dataclasses import replace

import pytest

from skyferry.engine.copy import decisions, provenance
from skyferry.engine.copy.attributes.carry import carry_attributes
from skyferry.engine.copy.decisions import Adopt, CheckDestination, Copy, Postpone, Remove
from skyferry.model import (
    Attributes,
    Change,
    Checksums,
    Claim,
    ObjectMeta,
    ObjectRef,
    Placement,
    Position,
    Provider,
    Traits,
    Transfer,
)
from skyferry.ports import Precondition, Skipped
from skyferry.routing.routes import Route

ROUTE = Route(name="r", source_store="s", store="d", deletes="propagate")
SOURCE = ObjectRef(Provider.FILE, "source", "k")
CREATE_ONLY = Copy(Precondition(create_only=True))


def at(n: int) -> Position:
    return Position("gcs-generation", f"{n:020d}")


def transfer(change: Change = Change.CREATED, position: int | None = None, occurred_at: float = 100.0) -> Transfer:
    where = at(position) if position is not None else None
    return Transfer("t", "r", change, SOURCE, "s", "d", "k", "e", "c", occurred_at, where)


def placement(position: int = 5, deleted: bool = False, **other: object) -> Placement:
    version = "" if deleted else "dest-5"
    held = Placement("d", "k", replace(SOURCE, version="v5"), deleted, (at(position),), 100.0, version, "t0", 101.0)
    return replace(held, **other)  # type: ignore[arg-type]  # any field, by name


def claim(held: Placement | None, asked: Transfer | None = None) -> Claim:
    return Claim(asked or transfer(), 1, 1, 0, held)


def meta(version: str = "v6", position: int | None = 6, size: int = 10) -> ObjectMeta:
    where = at(position) if position is not None else None
    return ObjectMeta("k", size, version, 1000.0, where, Checksums(), Attributes())


OTHER = ObjectRef(Provider.FILE, "source", "other", version="v1")


@pytest.mark.parametrize(
    ("held", "asked", "expected"),
    [
        pytest.param(None, transfer(), None, id="nothing is known: look"),
        pytest.param(placement(5), transfer(position=4), Skipped("superseded"), id="an older event"),
        pytest.param(placement(5), transfer(position=5), Skipped("superseded"), id="the same event again"),
        pytest.param(placement(5), transfer(position=6), None, id="a newer event"),
        pytest.param(placement(5), transfer(), None, id="no position: look"),
        pytest.param(placement(5), transfer(Change.DELETED, 5), None, id="a delete carries the generation it deletes"),
        pytest.param(placement(5), transfer(Change.DELETED, 4), Skipped("superseded"), id="a late delete"),
        pytest.param(placement(5, deleted=True), transfer(position=5), Skipped("superseded"), id="a late create"),
        pytest.param(
            placement(5, deleted=True), transfer(Change.DELETED, 5), Skipped("superseded"), id="a delete again"
        ),
        pytest.param(placement(source=OTHER), transfer(position=1), None, id="positions of another key do not compare"),
        pytest.param(placement(source=OTHER, occurred_at=4e9), transfer(), None, id="nor do times that events claim"),
        pytest.param(
            placement(5), replace(transfer(position=4), asked=True), None, id="what a person asks for is looked at"
        ),
    ],
)
def test_before(held: Placement | None, asked: Transfer, expected: Skipped | None) -> None:
    """An exact position vetoes without a look; nothing else does."""
    assert decisions.decide_before_look(claim(held, asked)) == expected


def test_a_clock_never_vetoes() -> None:
    """Positions on a clock may tie or step back, so they are no reason not to look."""
    held = placement(positions=(Position.at(2_000),))
    asked = replace(transfer(), position=Position.at(1_000))
    assert decisions.decide_before_look(claim(held, asked)) is None


@pytest.mark.parametrize(
    ("held", "source", "expected"),
    [
        pytest.param(None, meta(), CREATE_ONLY, id="a new key is created"),
        pytest.param(placement(deleted=True), meta(), CREATE_ONLY, id="a deleted key is created"),
        pytest.param(placement(), meta(), Copy(Precondition(replace="dest-5")), id="exactly what we wrote is replaced"),
        pytest.param(placement(), meta("v5", 5), Skipped("current", (at(5),)), id="the same version"),
        pytest.param(placement(7), meta("v6", 6), Skipped("superseded", (at(6),)), id="an older version"),
        pytest.param(
            placement(7, deleted=True), meta("v6", 6), Skipped("superseded", (at(6),)), id="older than its delete"
        ),
        pytest.param(placement(version=""), meta(), CheckDestination(), id="an unknown destination version"),
        pytest.param(placement(source=OTHER), meta(), Copy(Precondition(replace="dest-5")), id="another key's object"),
        pytest.param(
            placement(source=OTHER, occurred_at=1500.0, settled_at=1501.0),
            meta(),
            Skipped("superseded"),
            id="another source's object is newer",
        ),
        pytest.param(
            placement(source=OTHER, occurred_at=4e9),
            meta(),
            Copy(Precondition(replace="dest-5")),
            id="none is from 2096",
        ),
    ],
)
def test_looked(held: Placement | None, source: ObjectMeta, expected: object) -> None:
    """With the source in sight, the version decides and the write is conditional."""
    assert decisions.decide_after_look(claim(held), ROUTE, source, 2000.0) == expected


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        pytest.param(replace(ROUTE, min_size=11), Skipped("filtered", (at(6),)), id="too small"),
        pytest.param(replace(ROUTE, max_size=9), Skipped("filtered", (at(6),)), id="too large"),
        pytest.param(replace(ROUTE, max_age=500.0), Skipped("filtered", (at(6),)), id="too old"),
        pytest.param(replace(ROUTE, min_age=1500.0), Postpone(500.0), id="too young: waits, is not lost"),
        pytest.param(
            replace(ROUTE, min_size=10, max_size=10, min_age=1000.0, max_age=1000.0), CREATE_ONLY, id="limits"
        ),
    ],
)
def test_filters(route: Route, expected: object) -> None:
    """Size and age are judged on the object that is there."""
    assert decisions.decide_after_look(claim(None), route, meta(), 2000.0) == expected


@pytest.mark.parametrize(
    ("route", "occurred_at", "expected"),
    [
        pytest.param(ROUTE, 1900.0, CREATE_ONLY, id="no age is asked for: it does not wait for its date"),
        pytest.param(replace(ROUTE, min_age=150.0), 1900.0, Postpone(50.0), id="too young, by its event"),
        pytest.param(replace(ROUTE, min_age=100.0), 1900.0, CREATE_ONLY, id="old enough, by its event"),
        pytest.param(replace(ROUTE, max_age=99.0), 1900.0, Skipped("filtered", (at(6),)), id="too old, by its event"),
        pytest.param(replace(ROUTE, min_age=100.0), 9000.0, Postpone(100.0), id="the event is ahead, too: once more"),
    ],
)
def test_an_object_that_is_dated_ahead_is_as_old_as_its_event(
    route: Route, occurred_at: float, expected: object
) -> None:
    """The date of a file may be arbitrary, and the clock of a store may be ahead."""
    asked = claim(None, transfer(occurred_at=occurred_at))
    assert decisions.decide_after_look(asked, route, replace(meta(), modified=90_000.0), 2000.0) == expected


def test_no_position_is_kept_but_those_that_the_source_shows() -> None:
    """An event may claim any: of the future, of another account, of another kind."""
    claims = (Position("s3-sequencer", "F" * 32), Position("gcs-generation", "9" * 20), Position.at(10**20 - 1))
    for position in claims:
        asked = claim(placement(), replace(transfer(), position=position))
        assert decisions.decide_after_look(asked, ROUTE, meta("v5", 5), 2000.0) == Skipped("current", (at(5),))
        assert decisions.decide_after_look(asked, ROUTE, None, 2000.0) == Skipped("gone")


@pytest.mark.parametrize(
    ("destination", "expected"),
    [
        pytest.param(None, CREATE_ONLY, id="the copy was removed by hand"),
        pytest.param(replace(meta("dest-5"), position=None), Skipped("current", (at(5),)), id="it is what we wrote"),
        pytest.param(meta("dest-9"), Copy(Precondition(replace="dest-9")), id="it is something else"),
    ],
)
def test_what_a_person_asks_for_is_current_only_if_the_destination_says_so(
    destination: ObjectMeta | None, expected: object
) -> None:
    asked = claim(placement(), replace(transfer(), asked=True))
    assert decisions.decide_after_look(asked, ROUTE, meta("v5", 5), 2000.0) == CheckDestination()
    assert decisions.decide_conflict(asked, ROUTE, meta("v5", 5), destination) == expected


def test_what_its_provider_is_filling_waits_however_old_it_is() -> None:
    """Azure announces a blob when its copy begins, at an account with a hierarchical namespace: what is there then is empty."""
    source = replace(meta(size=0), unfinished=True)
    for held in (None, placement(5)):
        assert decisions.decide_after_look(claim(held), ROUTE, source, 2000.0) == Postpone(decisions.FILLING)


def test_an_object_that_came_from_the_destination_is_not_sent_back() -> None:
    """As provenance without marks shows, of an older version."""
    back = ObjectRef(Provider.FILE, "destination", "k")
    source = replace(meta(), attributes=Attributes(metadata={"skyferry-source": provenance.format_source(back)}))
    assert decisions.decide_after_look(claim(None), ROUTE, source, 2000.0) == Skipped("loop", (at(6),))


@pytest.mark.parametrize(
    ("held", "asked", "route", "expected"),
    [
        pytest.param(
            placement(), transfer(), ROUTE, Skipped("gone"), id="a create whose object is gone deletes nothing"
        ),
        pytest.param(
            placement(),
            transfer(Change.DELETED, 6),
            ROUTE,
            Remove(Precondition(replace="dest-5")),
            id="a delete removes exactly what we wrote",
        ),
        pytest.param(None, transfer(Change.DELETED), ROUTE, CheckDestination(), id="unknown: look at the destination"),
        pytest.param(
            placement(deleted=True), transfer(Change.DELETED, 6), ROUTE, CheckDestination(), id="a tombstone: look, too"
        ),
        pytest.param(
            placement(source=OTHER),
            transfer(Change.DELETED),
            ROUTE,
            Skipped("foreign"),
            id="another key's object stays",
        ),
        pytest.param(
            placement(),
            transfer(Change.DELETED),
            replace(ROUTE, deletes="ignore"),
            Skipped("gone"),
            id="deletes ignored",
        ),
    ],
)
def test_gone(held: Placement | None, asked: Transfer, route: Route, expected: object) -> None:
    """The source has no such object."""
    assert decisions.decide_after_look(claim(held, asked), route, None, 2000.0) == expected


def marked(version: str, position: int | None, source: ObjectRef = SOURCE) -> ObjectMeta:
    tags = {"skyferry-source": provenance.format_source(source), "skyferry-version": version}
    if position is not None:
        tags["skyferry-position"] = str(at(position))
    return replace(meta("dest-x", None), attributes=Attributes(metadata=tags))


@pytest.mark.parametrize(
    ("destination", "expected"),
    [
        pytest.param(None, CREATE_ONLY, id="it vanished"),
        pytest.param(marked("v6", 6), Adopt(), id="it is this version already"),
        pytest.param(
            marked("v7", 7), Skipped("superseded", (at(6),)), id="the provenance is newer: the ledger was lost"
        ),
        pytest.param(marked("v5", 5), Copy(Precondition(replace="dest-x")), id="the provenance is older"),
        pytest.param(marked("v9", 9, OTHER), Copy(Precondition(replace="dest-x")), id="it came from elsewhere"),
        pytest.param(meta("dest-x", None), Copy(Precondition(replace="dest-x")), id="it is foreign"),
    ],
)
def test_conflict(destination: ObjectMeta | None, expected: object) -> None:
    """A lost race is a decision by the provenance of the object that is there."""
    assert decisions.decide_conflict(claim(None), ROUTE, meta(), destination) == expected


RING = replace(ROUTE, ring=True, source_mark="aaaaaaaaaaaa", store_mark="bbbbbbbbbbbb")
BACK = replace(RING, source_mark=RING.store_mark, store_mark=RING.source_mark)


@pytest.mark.parametrize(
    ("route", "there", "copied"),
    [(RING, 999.0, True), (RING, 1001.0, False), (RING, 1000.0, False), (BACK, 1000.0, True), (ROUTE, 1001.0, True)],
)
def test_of_two_that_were_written_by_themselves_the_later_one_stays_in_a_ring(
    route: Route, there: float, copied: bool
) -> None:
    """At both stores, so that they do not change places. A copy counts from when it was written where it was none."""
    superseded = Skipped("superseded", (at(6),))
    expected = Copy(Precondition(replace="dest-x")) if copied else superseded
    destination = replace(meta("dest-x", None), modified=there)
    assert decisions.decide_conflict(claim(None), route, meta(), destination) == expected
    copy = Attributes(
        metadata={"skyferry-source": provenance.format_source(OTHER), "skyferry-written": str(round(there * 1e6))}
    )
    assert (
        decisions.decide_conflict(claim(None), route, meta(), replace(destination, modified=5e9, attributes=copy))
        == expected
    )


@pytest.mark.parametrize(
    ("destination", "expected"),
    [
        pytest.param(None, Skipped("gone"), id="nothing to delete"),
        pytest.param(marked("v5", 5), Remove(Precondition(replace="dest-x")), id="our copy"),
        pytest.param(meta("dest-x", None), Skipped("foreign"), id="foreign: it stays"),
    ],
)
def test_conflict_on_delete(destination: ObjectMeta | None, expected: object) -> None:
    """Only what came from this source is deleted."""
    assert decisions.decide_delete(claim(None, transfer(Change.DELETED)), ROUTE, destination) == expected


def test_provenance_reads_back() -> None:
    """The written provenance is read back, also for a key that is too long for the metadata."""
    for key in ("k", "ä +%", "x" * 1024):
        source = replace(SOURCE, key=key)
        asked = replace(transfer(position=6), source=source)
        route = Route("r", "source", "destination", metadata={"team": "a"})
        attributes = carry_attributes(asked, route, meta(), Checksums(sha256="ab"), Traits()).attributes
        mark = provenance.read_provenance(replace(meta(), attributes=attributes))
        digest = provenance.digest_attributes(Attributes())
        assert mark == provenance.Provenance(provenance.format_source(source), at(6), "v6", "t", carried=digest)
        assert attributes.metadata["team"] == "a"
        assert sum(len(k) + len(v) for k, v in attributes.metadata.items()) < 1024


TAGGED = Attributes(tags={"state": "final"})
PLAIN_DIGEST, TAGGED_DIGEST = map(provenance.digest_attributes, (Attributes(), TAGGED))


def with_provenance(position: int, digest: str = PLAIN_DIGEST, **other: object) -> ObjectMeta:
    """A copy of version v5, with the position that it was copied at."""
    given = {
        "skyferry-source": provenance.format_source(SOURCE),
        "skyferry-version": "v5",
        "skyferry-position": str(at(position)),
        "skyferry-attributes": digest,
    }
    made = ObjectMeta("k", 10, "dest-5", 1000.0, attributes=Attributes(metadata={k: v for k, v in given.items() if v}))
    return replace(made, **other)  # type: ignore[arg-type]  # any field, by name


@pytest.mark.parametrize(
    ("held", "source", "expected"),
    [
        pytest.param(
            placement(carried=PLAIN_DIGEST), meta("v5", 5), Skipped("current", (at(5),)), id="nothing changed"
        ),
        pytest.param(
            placement(carried=TAGGED_DIGEST), meta("v5", 6), CheckDestination(), id="it carries something else"
        ),
        pytest.param(
            placement(7, carried=TAGGED_DIGEST), meta("v5", 6), Skipped("superseded", (at(6),)), id="an older change"
        ),
        pytest.param(placement(), meta("v5", 6), CheckDestination(), id="no digest is known, and it has changed since"),
        pytest.param(
            placement(), meta("v5", 5), Skipped("current", (at(5),)), id="no digest is known, at that position"
        ),
    ],
)
def test_a_version_is_also_what_it_carries(held: Placement, source: ObjectMeta, expected: object) -> None:
    """If the version is unchanged, a digest of the attributes decides, or a later position if no digest is known."""
    assert decisions.decide_after_look(claim(held), ROUTE, source, 2000.0) == expected


SUMS = Checksums(crc32c="01020304")


@pytest.mark.parametrize(
    ("held", "destination", "expected"),
    [
        pytest.param(placement(), with_provenance(5), "update", id="the ledger has proven the bytes"),
        pytest.param(None, with_provenance(5, checksums=SUMS), "update", id="a digest of both sides proves them"),
        pytest.param(None, with_provenance(5), "copy", id="nothing proves them"),
        pytest.param(placement(), with_provenance(5, size=9), "copy", id="it is of another size"),
        pytest.param(placement(), with_provenance(7), "superseded", id="a newer change is there already"),
        pytest.param(placement(), with_provenance(5, TAGGED_DIGEST), "current", id="this change is there already"),
        pytest.param(
            None, with_provenance(5, ""), "copy", id="an older version of Skyferry wrote it, before the change"
        ),
        pytest.param(
            None, with_provenance(6, ""), "adopt", id="an older version of Skyferry wrote it, after the change"
        ),
    ],
)
def test_changed_attributes_at_the_destination(held: Placement | None, destination: ObjectMeta, expected: str) -> None:
    """Only what is proven to have the bytes is changed in place, and never to something older."""
    source = replace(meta("v5", 6), checksums=SUMS, attributes=TAGGED)
    wanted = {
        "update": decisions.Update(destination),
        "copy": Copy(Precondition(replace="dest-5")),
        "superseded": Skipped("superseded", (at(6),)),
        "current": Skipped("current", (at(6),)),
        "adopt": Adopt(),
    }[expected]
    assert decisions.decide_conflict(claim(held), ROUTE, source, destination) == wanted


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (Attributes(content_type="a/b"), False),
        (Attributes(cache_control="no-store"), False),
        (Attributes(metadata={"a": "b"}), False),
        (Attributes(tags={"a": "b"}), False),
        (Attributes(storage_class="COLD", modes=(0o644,)), True),
        (Attributes(metadata={"skyferry-transfer": "t"}), True),
    ],
)
def test_the_digest_covers_what_is_carried(other: Attributes, same: bool) -> None:
    """Not storage class and permissions, whose change alone is not copied; not provenance, which each copy has its own."""
    assert (provenance.digest_attributes(other) == PLAIN_DIGEST) is same
