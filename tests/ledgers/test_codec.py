"""Records of older and of newer releases are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from operator import getitem
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyferry.ledgers import codec
from skyferry.model import (
    Attributes,
    Change,
    Checksums,
    Failure,
    ObjectMeta,
    ObjectRef,
    Part,
    Placement,
    Position,
    Progress,
    Provider,
    Receipt,
    Transfer,
    Upload,
)
from skyferry.ports import DeadLetter, Heartbeat, Refusal, WorkerState
from skyferry.ports.joins import is_current

SEEN = Placement(
    "d",
    "k",
    ObjectRef(Provider.GCP_GCS, "b", "k", version="v"),
    False,
    (Position("gcs-generation", "9" * 20),),
    1.0,
    "w",
    "t",
    2.0,
    "gs://copies",
)


@pytest.mark.parametrize("account", ["", "account"])
def test_a_placement_reads_back(account: str) -> None:
    placed = replace(SEEN, source=replace(SEEN.source, account=account))
    assert codec.unpack_placement("d", "k", codec.pack_placement(placed)) == placed


def test_positions_of_an_older_ledger_do_not_count() -> None:
    """It kept what events claimed: a forged one would stop the key for ever."""
    old = orjson.dumps(orjson.loads(codec.pack_placement(SEEN))[:7]).decode()
    assert codec.unpack_placement("d", "k", old) == replace(SEEN, positions=(), identity="")


def _few(*values: str) -> st.SearchStrategy[str]:
    return st.sampled_from(values)


POSITIONS = st.builds(Position, _few("time", "gcs-generation"), _few("1" + "0" * 19, "1" + "0" * 18 + "1", "2" * 20))
REFS = st.builds(
    ObjectRef, st.sampled_from([Provider.FILE, Provider.S3_COMPATIBLE]), _few("b", "c"), _few("k", "l"), _few("", "r"),
    version=_few("v", '"e"', 'id "e"'), account=_few("", "one", "two"),
)  # fmt: skip
PLACEMENTS = st.builds(
    Placement, st.just("d"), st.just("to"), REFS, st.booleans(), st.lists(POSITIONS, max_size=2).map(tuple),
    st.just(1.0), st.just("w"), st.just("t"), st.just(2.0), _few("", "gs://copies"),
)  # fmt: skip
METAS = st.builds(ObjectMeta, _few("k", "l"), st.just(1), _few("v", '"e"'), st.just(1.0), st.none() | POSITIONS)


@given(PLACEMENTS, METAS, REFS, st.booleans())
def test_a_copy_is_as_current_in_decoded_json_as_in_a_placement(
    placed: Placement, meta: ObjectMeta, source: ObjectRef, old: bool
) -> None:
    fields = orjson.loads(codec.pack_placement(placed))
    fields = fields[:7] if old else fields  # without positions that count
    decoded = codec.build_placement("d", "to", fields)
    assert codec.is_current("d", "to", fields, source, meta) is is_current(decoded, source, meta)


REF = ObjectRef(Provider.S3_COMPATIBLE, "b", "k", "r", "v", "account")
SUMS = Checksums("1", "2", "3", "4")
FAILED = Failure(1, 2.0, "store_timeout", "late", counts_as_attempt=False)
TRANSFER = Transfer("0" * 32, "all", Change.CREATED, REF, "s", "d", "k", "e", "c", 1.0, checksums=SUMS, traceparent="t")
RECEIPT = Receipt("v", "w", 3, SUMS, SUMS, SUMS, None, 1.0, 2.0, 1, ("tags",), in_place=True)
LETTER = DeadLetter(
    "id", 1.0, "q", "r", "m", "h", b"body", (("n", "v"),), "all", "s3://b", "k", "e", "c", (FAILED,), 5.0
)
ATTRIBUTES = Attributes("text/plain", metadata={"a": "b"}, tags={}, expires="never", modes=(0o644,), mtime=7)
PROGRESS = Progress("d", Upload("u", "k", 9, 5, ATTRIBUTES, 1.0, "secret"), REF, (Part(1, 0, 5, "t", "c"),), 2.0)
PLACED = replace(SEEN, source=REF, carried="c")
REFUSED = Refusal(REF, Change.CREATED, "e", 1.0, 2.0, (("all", "filter"),))
HEARTBEAT = Heartbeat("host", "1.2", "r", 3.0, WorkerState.RUNNING, 1, (("d", "k"),))


def _read_progress(text: str) -> Progress:
    part = orjson.dumps([*orjson.loads(codec.pack_part(PROGRESS.parts[0])), "of a later release"]).decode()
    return codec.unpack_progress("d", "k", 2 * 2**22, text, [part])


@pytest.mark.parametrize(
    ("record", "pack", "unpack", "places"),
    [
        (TRANSFER, codec.pack_transfer, codec.unpack_transfer, [(), (3,), (12,)]),
        (RECEIPT, codec.pack_receipt, codec.unpack_receipt, [(), (3,), (4,), (5,)]),
        (PLACED, codec.pack_placement, lambda text: codec.unpack_placement("d", "k", text), [(), (0,)]),
        (FAILED, codec.pack_failure, codec.unpack_failure, [()]),
        (LETTER, codec.pack_letter, lambda text: codec.unpack_letter(text, 5 * 2**22), [(), (13, 0)]),
        (PROGRESS, codec.pack_progress, _read_progress, [(), (3,), (3, 9), (5,)]),
        (REFUSED, codec.pack_refusal, codec.unpack_refusal, [(), (0,)]),
        (HEARTBEAT, codec.pack_heartbeat, codec.unpack_heartbeat, [()]),
    ],
    ids=["transfer", "receipt", "placement", "failure", "letter", "progress", "refusal", "heartbeat"],
)
def test_fields_that_a_later_release_has_added_are_ignored(
    record: Any, pack: Callable[[Any], str], unpack: Callable[[str], Any], places: list[tuple[int, ...]]
) -> None:
    """At the end of the record, and of each record in it: two releases use one ledger, and one may go back to the older."""
    for place in places:
        fields = orjson.loads(pack(record))
        reduce(getitem, place, fields).append("of a later release")
        assert unpack(orjson.dumps(fields).decode()) == record, place


def test_heartbeats_of_other_releases_are_read() -> None:
    """An older one lacks the digests, a newer one has more fields and states."""
    beat = Heartbeat("host", "1.2.3", "", 1.0, WorkerState.RUNNING, 2, (("to", "k"),), "1a2b", "3c4d")
    fields = orjson.loads(codec.pack_heartbeat(beat))
    assert codec.unpack_heartbeat(orjson.dumps(fields[:7]).decode()) == replace(beat, routes="", queues="")
    assert codec.unpack_heartbeat(orjson.dumps([*fields[:4], "resting", *fields[5:], "more"]).decode()) == beat
