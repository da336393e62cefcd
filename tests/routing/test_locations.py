"""Where stores really are: the same mark wherever the same store is configured, and another for any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skyferry.config.settings import Settings, StoreSettings
from skyferry.routing.locations import StoreLocation
from skyferry.wiring.identities import mark_stores


def mark(machine: str = "here", **given: Any) -> str:
    return StoreLocation.of(StoreSettings(**given), Path("/srv")).mark(machine)


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ({"url": "s3://b?region=eu-west-1"}, {"url": "s3://b?region=us-east-1", "bucket": "alias"}, True),
        ({"url": "s3://b"}, {"url": "s3://b?endpoint=https://s3.eu-west-1.amazonaws.com"}, True),
        ({"url": "s3://b"}, {"url": "s3://b?endpoint=https://s3.cn-north-1.amazonaws.com.cn"}, False),
        ({"url": "s3://b"}, {"url": "s3://c"}, False),
        ({"url": "s3://b"}, {"url": "gs://b"}, False),
        (
            {"url": "s3://b?endpoint=https://m.example.org"},
            {"url": "s3://b?endpoint=https://M.example.org/&service=minio"},
            True,
        ),
        ({"url": "s3://b?endpoint=https://m.example.org"}, {"url": "s3://b?endpoint=https://n.example.org"}, False),
        ({"url": "az://one/c"}, {"url": "az://c", "endpoint": "https://one.blob.core.windows.net"}, True),
        ({"url": "az://one/c"}, {"url": "az://two/c"}, False),
        ({"url": "file:///srv/source"}, {"url": "file://source"}, True),
        ({"url": "file:///srv/source"}, {"url": "file:///data/source"}, False),
        ({"url": "file://source"}, {"url": "sim://source?latency=1ms"}, True),
    ],
)
def test_a_store_is_known_by_where_it_is(one: dict[str, Any], two: dict[str, Any], same: bool) -> None:
    assert (mark(**one) == mark(**two)) is same


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("file:///srv/source", False),
        ("memory://m", False),
        ("s3://b?endpoint=http://localhost:9000", False),
        ("az://c?endpoint=http://127.0.0.1:10000/one", False),
        ("s3://b", True),
        ("s3://b?endpoint=https://minio.example.org", True),
        ("gs://b", True),
    ],
)
def test_what_is_on_one_machine_is_another_store_on_another(url: str, same: bool) -> None:
    """`source` there is not `source` here, nor is a server on loopback."""
    assert (mark("here", url=url) == mark("there", url=url)) is same


def test_marks_are_the_same_in_each_process(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {"workspace": tmp_path, "stores": {"a": {"url": "file://a"}, "b": {"url": "s3://b"}}}
    )
    found = mark_stores(settings)
    assert found == mark_stores(settings)
    assert {len(each) for each in found.values()} == {12}
