"""Attributes that a copy gets in addition to those of its source."""

from __future__ import annotations

import pytest

from skyferry.engine.copy.attributes.carry import carry_attributes, find_lost
from skyferry.model import Attributes, Change, Checksums, ObjectMeta, ObjectRef, Provider, Traits, Transfer
from skyferry.routing.routes import Route

ROUTE = Route("r", "s", "d", store_provider=Provider.AWS_S3, metadata={"team": "a"})
FILES = Traits(keeps_mtime=True)


def carry(
    attributes: Attributes, route: Route = ROUTE, traits: Traits | None = None, key: str = "k", said: str = ""
) -> Attributes:
    ref = ObjectRef(Provider.FILE, "source", key)
    transfer = Transfer("t", "r", Change.CREATED, ref, "s", "d", key, "e", "c", 1.0, content_type=said)
    found = ObjectMeta(key, 1, "v", 1.0, attributes=attributes)
    return carry_attributes(transfer, route, found, Checksums(), traits or Traits()).attributes


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("dir/page.html", "text/html"),
        ("PAGE.HTML", "text/html"),
        ("a.tar.gz", "application/gzip"),
        ("a.csv.zst", "application/zstd"),
        ("a.webp", "image/webp"),
        ("a.parquet", "application/vnd.apache.parquet"),
        ("a.js", "text/javascript"),
        ("README", ""),
        ("v1.2/data", ""),
        (".html", ""),
        ("a.unknown-suffix", ""),
        ("data:text/html,x.png", "image/png"),
    ],
)
def test_a_name_suggests_a_content_type(key: str, expected: str) -> None:
    """Only the last part counts, in any case. What is compressed stays compressed."""
    assert carry(Attributes(), key=key).content_type == expected


@pytest.mark.parametrize(
    ("attributes", "said", "route", "expected"),
    [
        (Attributes(content_type="x/y"), "", ROUTE, "x/y"),
        (Attributes(), "of/event", ROUTE, "of/event"),
        (Attributes(), "", Route("r", "s", "d", store_provider=Provider.AWS_S3, guess_content_type=False), ""),
        (Attributes(), "", Route("r", "s", "d"), ""),
    ],
    ids=["the source's own", "the event's", "switched off", "from folder to folder"],
)
def test_a_content_type_is_not_guessed(attributes: Attributes, said: str, route: Route, expected: str) -> None:
    assert carry(attributes, route, key="page.html", said=said).content_type == expected


@pytest.mark.parametrize(
    ("mtime", "expected"),
    [(1_700_000_000_123_456_789, "1700000000.123456789"), (1_700_000_000_500_000_000, "1700000000.5"), (0, "0")],
)
def test_the_time_of_a_file_is_in_its_metadata(mtime: int, expected: str) -> None:
    assert carry(Attributes(mtime=mtime)).metadata["mtime"] == expected
    assert "mtime" not in carry(Attributes(mtime=mtime), traits=FILES).metadata


def test_a_value_of_the_user_wins() -> None:
    assert carry(Attributes(mtime=5, metadata={"mtime": "mine"})).metadata["mtime"] == "mine"


def test_only_names_of_provenance_are_replaced() -> None:
    """Other metadata of that prefix are the user's."""
    given = Attributes(metadata={"skyferry-note": "mine", "skyferry-transfer": "old"})
    user = carry(given).metadata
    assert (user["skyferry-note"], user["skyferry-transfer"], user["team"]) == ("mine", "t", "a")


def test_what_a_destination_cannot_keep_is_named_only_if_the_object_has_it() -> None:
    lossy = Traits(lossy=("tags", "Expires", "file permissions"))
    assert find_lost(Attributes(content_type="text/plain", modes=(0o600,)), ROUTE, lossy) == ()
    full = Attributes(tags={"a": "b"}, expires="0", website_redirect="/x")
    assert find_lost(full, ROUTE, lossy) == ("tags", "Expires")
    assert find_lost(full, ROUTE, Traits()) == ()
