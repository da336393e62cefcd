"""Headers and the model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyferry.clouds.http import HttpResponse, seconds
from skyferry.errors import StoreError, Unsupported
from skyferry.model import Attributes, Checksums
from skyferry.stores.s3.metadata import S3Version, attributes, checksums, content_range, decode, encode, write_headers

MD5 = "900150983cd24fb0d6963f7d28e17f72"


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_any_metadata_value_survives_as_a_plain_ascii_header(value: str) -> None:
    coded = encode(value)
    assert coded.isascii()
    assert coded == coded.strip()
    assert coded.isprintable()
    assert decode(coded) == value


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("=?UTF-8?Q?caf=C3=A9?=", "café"),  # S3's own, quoted
        ("=?UTF-8?B?w7w=?= =?UTF-8?B?w7w=?=", "üü"),  # long ones are folded
        ("=?no-such-charset?B?eA==?=", "=?no-such-charset?B?eA==?="),
        ("a =? b", "a =? b"),
        (b"caf\xc3\xa9".decode("utf-8", "surrogateescape"), "café"),
        (b"caf\xe9".decode("utf-8", "surrogateescape"), "café"),  # Latin-1
    ],
)
def test_metadata_written_by_others_is_read(sent: str, read: str) -> None:
    assert decode(sent) == read


@pytest.mark.parametrize(
    "given", [Attributes(content_type="a\nb"), Attributes(cache_control="ü"), Attributes(metadata={"ü": "x"})]
)
def test_what_no_header_can_hold_is_refused(given: Attributes) -> None:
    with pytest.raises(Unsupported):
        write_headers(given, tags=True)


def test_attributes_are_read_as_they_are_written() -> None:
    given = Attributes("text/html", "br", "en", "inline", "no-cache", {"k": "v"}, {}, "GLACIER_IR")
    assert attributes(write_headers(given, tags=True)) == given


@pytest.mark.parametrize(
    ("said", "kept"),
    [("aws-chunked", ""), ("aws-chunked,gzip", "gzip"), ("gzip, aws-chunked", "gzip"), ("gzip,br", "gzip,br")],
)
def test_how_an_object_was_sent_is_no_encoding_of_it(said: str, kept: str) -> None:
    assert attributes({"content-encoding": said}).content_encoding == kept


def test_tags_are_sent_only_to_services_that_support_them() -> None:
    given = Attributes(tags={"a b": "c&d"})
    assert write_headers(given, tags=True) == {"x-amz-tagging": "a%20b=c%26d"}
    assert write_headers(given, tags=False) == {}


@pytest.mark.parametrize(
    ("headers", "ranged", "found"),
    [
        ({"x-amz-checksum-crc32c": "NksmYA=="}, False, Checksums(crc32c="364b2660")),
        ({"x-amz-checksum-crc32c": "NksmYA==-3", "x-amz-checksum-type": "COMPOSITE"}, False, Checksums()),
        ({"x-amz-checksum-crc32c": "NksmYA==-3"}, False, Checksums()),
        ({"x-amz-checksum-crc32c": "NksmYA=="}, True, Checksums()),  # maybe a part's
        (
            {"x-amz-checksum-crc32c": "NksmYA==", "x-amz-checksum-type": "FULL_OBJECT"},
            True,
            Checksums(crc32c="364b2660"),
        ),
        ({"etag": f'"{MD5}"'}, False, Checksums(md5=MD5)),
        ({"etag": f'"{MD5}-2"'}, False, Checksums()),
        ({"etag": f'"{MD5}"', "x-amz-server-side-encryption": "AES256"}, False, Checksums(md5=MD5)),
        ({"etag": f'"{MD5}"', "x-amz-server-side-encryption": "aws:kms:dsse"}, False, Checksums()),
        ({"etag": f'"{MD5}"', "x-amz-server-side-encryption-customer-algorithm": "AES256"}, False, Checksums()),
    ],
)
def test_only_a_digest_of_the_whole_content_is_one(headers: dict[str, str], ranged: bool, found: Checksums) -> None:
    assert checksums(headers, ranged=ranged) == found


@pytest.mark.parametrize(
    ("text", "pin"),
    [
        ("", S3Version()),
        ('"abc"', S3Version("", '"abc"')),
        ("v.1_-", S3Version("v.1_-", "")),  # as an event names it
        ('v1"abc"', S3Version("v1", '"abc"')),
        ('null"abc"', S3Version("", '"abc"')),  # pins nothing: the next write has this id too
    ],
)
def test_a_version_is_a_version_id_and_an_etag(text: str, pin: S3Version) -> None:
    assert S3Version.parse(text) == pin
    assert S3Version.parse(str(pin)) == pin


def test_ranges_and_dates_that_make_no_sense_are_not_believed() -> None:
    assert content_range(HttpResponse(206, {"content-range": "bytes 5-9/100"}, bytes(5))) == (5, 100)
    assert content_range(HttpResponse(200, {"content-length": "5"}, bytes(5))) == (0, 5)
    assert content_range(HttpResponse(206, {"content-range": "bytes 0--1/0"}, b"")) == (0, 0)  # Azurite
    with pytest.raises(StoreError, match="how large"):
        content_range(HttpResponse(206, {"content-range": "bytes */100"}, bytes(5)))
    assert seconds("Thu, 01 Jan 1970 00:00:07 GMT") == 7.0
    assert seconds("") == seconds("yesterday") == 0.0
