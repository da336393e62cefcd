"""Pages of listings as different services write them."""

from __future__ import annotations

import pytest

from skyferry.errors import StoreError
from skyferry.stores.s3.listing import parse_listing, parse_objects

ROW = "<Contents><Key>{key}</Key><LastModified>2026-11-28T22:01:01.000Z</LastModified><ETag>{etag}</ETag><Size>3</Size></Contents>"
AMAZON = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def _page(rows: str, encoding: str = "", namespace: str = AMAZON) -> bytes:
    return f"<ListBucketResult{namespace}><Prefix>\x01</Prefix>{rows}{encoding}</ListBucketResult>".encode()


@pytest.mark.parametrize("namespace", [AMAZON, ""])
@pytest.mark.parametrize("etag", ["abc", "&quot;abc&quot;", "&#34;abc&#34;", "W/&quot;abc&quot;"])
def test_an_object_has_one_version_however_its_etag_is_quoted(etag: str, namespace: str) -> None:
    (found,) = parse_objects(parse_listing(_page(ROW.format(key="k", etag=etag), namespace=namespace)))
    assert (found.key, found.size, found.version) == ("k", 3, '"abc"')
    assert found.modified == 1795903261.0


@pytest.mark.parametrize(
    ("encoding", "key"), [("", "a+b%2Fc"), ("<EncodingType>url</EncodingType>", "a b/c")], ids=["plain", "encoded"]
)
def test_keys_are_decoded_if_the_page_says_so_at_its_end(encoding: str, key: str) -> None:
    (found,) = parse_objects(parse_listing(_page(ROW.format(key="a+b%2Fc", etag="e"), encoding)))
    assert found.key == key


def test_another_document_is_no_empty_bucket() -> None:
    with pytest.raises(StoreError, match="no listing"):
        parse_listing(b"<html/>")
