"""Signatures: the published examples, and the same as Amazon's own library makes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from awscrt import auth
from awscrt.http import HttpHeaders, HttpRequest
from hypothesis import given
from hypothesis import strategies as st

from skyferry.clouds.aws import Signer
from skyferry.clouds.credentials import S3Credentials

EMPTY = hashlib.sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"

# "AWS Signature Version 4 test suite": the name of the case, method, path, headers beside host and date, signature.
SUITE = [
    ("get-vanilla", "GET", "/", {}, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ("post-vanilla", "POST", "/", {}, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    (
        "get-header-value-trim",
        "GET",
        "/",
        {"My-Header1": " value1", "My-Header2": ' "a   b   c"'},
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    ),
    (
        "post-header-key-sort",
        "POST",
        "/",
        {"My-Header1": "value1"},
        "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
    ),
    ("get-utf8", "GET", "/%E1%88%B4", {}, "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
    (
        "get-vanilla-query-order-key-case",
        "GET",
        "/?Param2=value2&Param1=value1",
        {},
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    (
        "get-vanilla-empty-query-key",
        "GET",
        "/?Param1=value1",
        {},
        "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
    ),
]


@pytest.mark.parametrize(("name", "method", "path", "headers", "signature"), SUITE, ids=[case[0] for case in SUITE])
def test_a_case_of_the_published_suite(
    name: str, method: str, path: str, headers: Mapping[str, str], signature: str
) -> None:
    credentials = S3Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    date = "20150830T123600Z"
    sent = {"Host": "example.amazonaws.com", "X-Amz-Date": date, **headers}
    value = Signer("service", "us-east-1").authorize(credentials, date, method, path, sent, EMPTY)
    assert value.endswith(f"Signature={signature}")


def test_an_example_of_the_documentation_of_s3() -> None:
    """ "Authenticating Requests: Using the Authorization Header", example "PUT Object"."""
    credentials = S3Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    body = b"Welcome to Amazon S3."
    headers = {
        "Date": "Fri, 24 May 2013 00:00:00 GMT",
        "Host": "examplebucket.s3.amazonaws.com",
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
    }
    signer = Signer("s3", "us-east-1", lambda: datetime(2013, 5, 24, tzinfo=UTC).timestamp())
    signed = signer.sign(credentials, "PUT", "/test%24file.text", headers, hashlib.sha256(body).hexdigest())
    assert signed["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        "SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class, "
        "Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
    )


def _sign_with_library(
    credentials: S3Credentials, when: float, method: str, path: str, headers: Mapping[str, str], sha256: str
) -> dict[str, str]:
    secrets = (credentials.access_key, credentials.secret_key, credentials.token or None)
    config = auth.AwsSigningConfig(
        algorithm=auth.AwsSigningAlgorithm.V4,
        signature_type=auth.AwsSignatureType.HTTP_REQUEST_HEADERS,
        credentials_provider=auth.AwsCredentialsProvider.new_static(*secrets),
        region="eu-west-1",
        service="s3",
        date=datetime.fromtimestamp(when, UTC),
        use_double_uri_encode=False,
        should_normalize_uri_path=False,
        signed_body_value=sha256,
        signed_body_header_type=auth.AwsSignedBodyHeaderType.X_AMZ_CONTENT_SHA_256,
    )
    request = HttpRequest(method, path, HttpHeaders(list(headers.items())))
    signed = dict(auth.aws_sign_request(request, config).result().headers)
    return {name.lower(): value for name, value in signed.items()}


NAMES = st.sampled_from(["content-type", "range", "if-none-match", "x-amz-meta-a", "x-amz-meta-a-b", "x-amz-meta-ab"])
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    st.dictionaries(st.sampled_from(["prefix", "list-type", "uploads", "versionId", "a", "a-b"]), WORDS),
    st.dictionaries(NAMES, VALUES),
    st.sampled_from(["", "the+session/token=="]),
    st.integers(0, 2**32),
)
def test_every_request_has_the_signature_of_amazons_library(
    key: str, query: Mapping[str, str], headers: Mapping[str, str], token: str, when: int
) -> None:
    pairs = [f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query.items()]
    path = f"/bucket/{quote(key, safe='/~')}" + (f"?{'&'.join(pairs)}" if pairs else "")
    credentials = S3Credentials("AKID", "secret", token)
    sent = {"Host": "example.org", **headers}
    signed = Signer("s3", "eu-west-1", lambda: float(when)).sign(credentials, "GET", path, sent, UNSIGNED)
    expected = _sign_with_library(credentials, float(when), "GET", path, sent, UNSIGNED)
    assert {name.lower() for name in signed} == set(expected)
    assert signed["Authorization"] == expected["authorization"]


def test_a_new_day_and_new_credentials_have_keys_of_their_own() -> None:
    now = [0.0]
    signer = Signer("s3", "us-east-1", lambda: now[0])
    old, new = S3Credentials("A", "first"), S3Credentials("A", "second")

    def sign(credentials: S3Credentials) -> str:
        return signer.sign(credentials, "GET", "/", {"Host": "h"}, EMPTY)["Authorization"]

    first = sign(old)
    assert sign(new) != first == sign(old)
    now[0] = 86_400.0
    assert "19700102" in sign(old)
    assert (
        sign(old)
        == Signer("s3", "us-east-1", lambda: now[0]).sign(old, "GET", "/", {"Host": "h"}, EMPTY)["Authorization"]
    )
