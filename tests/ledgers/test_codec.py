"""Records of older ledgers are read."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyferry.ledgers import codec
from skyferry.model import ObjectMeta, ObjectRef, Placement, Position, Provider
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
