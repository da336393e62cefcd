"""Records of older ledgers are read."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from skyferry.ledgers import codec
from skyferry.model import ObjectRef, Placement, Position, Provider

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
