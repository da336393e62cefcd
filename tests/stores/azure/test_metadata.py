"""Headers and the model; names of metadata; signatures."""

from __future__ import annotations

import pytest
from azure.storage.blob._shared.authentication import _storage_header_sort
from hypothesis import given
from hypothesis import strategies as st

from skyferry.clouds.azure import SharedKey, _place, authorization, string_to_sign
from skyferry.errors import ConfigError, Unsupported
from skyferry.model import Attributes, Checksums
from skyferry.stores.azure.metadata import AzureVersion, attributes, checksums, escape, meta, unescape, write_headers

MD5 = "900150983cd24fb0d6963f7d28e17f72"
ETAG = "0x8DC0FFEE"
VERSION = "2026-11-23T10:00:00.1234567Z"
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).map(str.lower)


@given(NAMES | st.from_regex(r"[a-z0-9_x-]{1,20}", fullmatch=True))
def test_any_name_of_metadata_survives_as_an_identifier(name: str) -> None:
    assert escape(name).isascii()
    assert escape(name).isidentifier()
    assert unescape(escape(name)) == name.lower()


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("plain_1", "plain_1"),
        ("skyferry-source", "skyferry_x002d_source"),
        ("1st", "_x0031_st"),
        ("_x002d_", "_x005f_x002d_"),
        ("_x0_", "_x0_"),
        ("\U0001f600", "_x0001f600_"),
        ("Upper", "upper"),
    ],
)
def test_names_are_escaped_as_dot_net_does(name: str, escaped: str) -> None:
    assert escape(name) == escaped


def test_a_name_that_only_looks_escaped_is_read_as_something() -> None:
    assert unescape("a_xffffffff_b") == "a\U0010ffffb"
    assert unescape("a_xyz_b") == "a_xyz_b"


def test_attributes_are_read_as_they_are_written() -> None:
    user = {"k": "v", "skyferry-source": "x", "empty": "", "other": "ünï ☃", "lead": " x"}
    given = Attributes("text/html", "br", "en", "inline", "no-cache", user, {}, "Cool")
    said = write_headers(given, tags=True)
    assert all(value and value == value.strip() and value.isascii() for value in said.values())
    assert attributes({name.removeprefix("x-ms-blob-"): value for name, value in said.items()}) == given


def test_the_tier_of_the_account_is_not_the_blob_s() -> None:
    assert attributes({"x-ms-access-tier": "Hot", "x-ms-access-tier-inferred": "true"}).storage_class == ""
    assert attributes({"x-ms-access-tier": "Cool"}).storage_class == "Cool"


@pytest.mark.parametrize(
    "given", [Attributes(content_type="a\nb"), Attributes(cache_control="ü"), Attributes(metadata={"": "x"})]
)
def test_what_no_header_can_hold_is_refused(given: Attributes) -> None:
    with pytest.raises(Unsupported):
        write_headers(given, tags=True)


def test_tags_are_sent_only_to_accounts_that_support_them() -> None:
    given = Attributes(tags={"a b": "c+d"})
    assert write_headers(given, tags=True) == {"x-ms-tags": "a%20b=c%2Bd"}
    assert write_headers(given, tags=False) == {}


@pytest.mark.parametrize(
    ("status", "unfinished"), [("pending", True), ("success", False), ("aborted", False), ("", False)]
)
def test_a_blob_that_a_copy_fills_is_not_finished(status: str, unfinished: bool) -> None:
    headers = {"etag": '"0x1"', "last-modified": "Wed, 25 Nov 2026 20:00:00 GMT", "x-ms-copy-status": status}
    assert meta("k", headers, 0).unfinished is unfinished


def test_the_md5_of_a_range_is_not_that_of_the_blob() -> None:
    headers = {"content-md5": "AAAAAAAAAAAAAAAAAAAAAA==", "x-ms-blob-content-md5": "kAFQmDzST7DWlj99KOF/cg=="}
    assert checksums(headers, ranged=True) == Checksums(md5=MD5)
    assert checksums(headers) == Checksums(md5="0" * 32)
    assert checksums({}) == Checksums()


@pytest.mark.parametrize(
    ("text", "pin"),
    [
        ("", AzureVersion()),
        (f'"{ETAG}"', AzureVersion("", f'"{ETAG}"')),
        (ETAG, AzureVersion("", f'"{ETAG}"')),  # as an event names it
        (VERSION, AzureVersion(VERSION, "")),
        (f'{VERSION}"{ETAG}"', AzureVersion(VERSION, f'"{ETAG}"')),
    ],
)
def test_a_version_is_a_version_id_and_an_etag(text: str, pin: AzureVersion) -> None:
    assert AzureVersion.parse(text) == pin
    assert AzureVersion.parse(str(pin)) == pin


def test_a_version_that_the_account_keeps_is_asked_for_and_not_demanded() -> None:
    kept, current = AzureVersion(VERSION, f'"{ETAG}"'), AzureVersion("", f'"{ETAG}"')
    assert (kept.query, kept.reading) == ({"versionid": VERSION}, {})
    assert (current.query, current.reading) == ({}, {"if-match": f'"{ETAG}"'})
    assert kept.headers == current.headers  # of a write


def test_what_is_signed() -> None:
    headers = {"x-ms-version": "v", "x-ms-date": "d", "content-length": "3", "if-match": '"e"', "user-agent": "u"}
    url, query = "https://a.blob.core.windows.net/c/k%20k", {"comp": "block", "BlockId": "a=="}
    assert string_to_sign("a", "PUT", url, headers, query) == (
        'PUT\n\n\n3\n\n\n\n\n"e"\n\n\n\nx-ms-date:d\nx-ms-version:v\n/a/c/k%20k\nblockid:a==\ncomp:block'
    )
    assert string_to_sign("a", "GET", url, {**headers, "content-length": "0"}, {}).startswith("GET\n\n\n\n")


@given(st.lists(st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True), unique=True))
def test_headers_are_sorted_as_microsoft_s_client_sorts_them(names: list[str]) -> None:
    headers = [f"x-ms-meta-{name}" for name in names]
    headers += ["x-ms-date", "x-ms-version", "x-ms-blob-content-type", "x-ms-blob-type", "x-ms-tags"]
    expected = [name for name, _ in _storage_header_sort([(name, "") for name in headers])]
    assert sorted(headers, key=_place) == expected


def test_a_token_is_sent_as_bearer_and_anonymous_requests_have_none() -> None:
    assert authorization("t", "GET", "https://x/", {}, {}) == {"authorization": "Bearer t"}
    assert authorization("", "GET", "https://x/", {}, {}) == {}


def test_a_key_is_not_shown_and_must_be_base64() -> None:
    assert "s3cret" not in repr(SharedKey("a", "s3cret"))
    with pytest.raises(ConfigError, match="not base64"):
        SharedKey("a", "not base64!").secret()
