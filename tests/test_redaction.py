"""Secrets of all common forms are taken out of what servers say, and of what they repeat of a request."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyferry.errors import ConfigError, StoreError
from skyferry.redaction import (
    _CREDENTIALS,
    LONGEST,
    SECRET,
    SEEN,
    find_secrets,
    may_repeat_secrets,
    redact_secrets,
    redact_values,
)

FORMS = [  # a text, and the part that nobody may see
    ("Authorization: Bearer abcdef123456", "abcdef"),
    ("authorization=Basic dXNlcjpwYXNz", "dXN"),
    ("Bearer ya29.a0AfH6SMB", "ya29"),
    ("X-Amz-Security-Token: FwoGZXIvYXdzEJr//////////wEaD", "Fwo"),
    ("x-amz-security-token=IQoJb3JpZ2luX2Vj", "IQoJ"),
    (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260101/us/s3/aws4_request, SignedHeaders=host, Signature=abc123def456",
        "abc123",
    ),
    ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJal"),
    ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJal"),
    ('"SecretAccessKey": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"', "wJal"),
    ("<SecretAccessKey>wJalrXUtnFEMI/K7MDENG</SecretAccessKey>", "wJal"),
    ('"SessionToken":"PLANTEDsessiontoken"', "PLANT"),
    ("https://x.blob.core.windows.net/c/b?sv=2020&sig=abc%2Fdef%3D&se=2026", "abc"),
    (
        "AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;EndpointSuffix=core",
        "Eby",
    ),
    ("Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==", "Eby"),
    ("SharedAccessSignature=sv=2020-08-04&sig=abcd", "abcd"),
    ("SharedKey account:c2lnbmF0dXJl", "c2ln"),
    ("password=hunter2", "hunter"),
    ("Password: hunter22", "hunter"),
    ("pwd=abc", "abc"),
    ("passwd='x y z'", "x y"),
    ('"password":"correct horse"', "correct"),
    ("https://user:pass@host/path", "pass"),
    ("https://ghtoken1234567890abc@host/path", "ght"),
    ("redis://:pw@host:6379/0", "pw@"),
    ("postgresql://u:p%40ss@h/db", "p%40"),
    ("postgresql://u:ab/cd+ef==@h/db", "cd+"),
    ("postgresql://u:ab?cd#ef@h/db", "cd#"),
    ("client_secret=abcDEF", "abcD"),
    ("client_secret: abcDEF123456", "abcD"),
    ("refresh_token=1//0gabcdefgh", "0gab"),
    ("access_token=ya29.c.b0A", "ya29"),
    ("id_token=eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.sig", "eyJ"),
    ("eyJhbGciOiJSUzI1NiJ9.PLANTEDjwt.sig", "PLANT"),
    ("api_key=abcdef", "abcdef"),
    ("X-Api-Key: 0123456789abcdef", "0123"),
    ("apikey=zzz", "zzz"),
    ("token=abc123", "abc"),
    ("secret=s3cr3t", "s3c"),
    ("ghp_16C7e42F292c6912E7710c838347Ae178B4a", "16C"),
    ("github_pat_11ABCDEFG0abcdefghij", "11A"),
    ("glpat-abcdefghij1234567890", "abcd"),
    ("xoxb-123456789012-abcdef", "1234"),
    ("sk_live_abcdefgh1234", "abcd"),
    ("npm_abcdefghijklmnop", "abcd"),
    ("pypi-AgEIcHlwaS5vcmc", "AgE"),
    ("SG.abcdefghij.klmnopqrstuv", "klm"),
    ("hf_abcdefghijkl", "abcd"),
    ("hvs.CAESIJabcdef", "CAES"),
    ("AIzaSyA-1234567890abcdefghijklmnopqrs", "SyA"),
    ("GOCSPX-abcdefghijkl", "abcd"),
    ("-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----", "MIIE"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIEabc", "MIIE"),
    ("Cookie: session=abcdef12345", "abcd"),
    ("Set-Cookie: sid=abcdef12345; Path=/", "abcd"),
    ("Proxy-Authorization: Basic dXNlcjpwYXNz", "dXN"),
    ("X-Goog-Signature=0a1b2c3d", "0a1"),
    ("X-Amz-Signature=0a1b2c", "0a1"),
    ("upload_id=AHmdjXYZ_123", "AHm"),
    ("x-amz-server-side-encryption-customer-key: MzJieXRlc2xvbmdzZWNyZXRrZXltdXN0cHJv", "MzJ"),
    ("x-ms-encryption-key: abc123def456==", "abc123"),
    ("ocp-apim-subscription-key=abcd1234", "abcd"),
    ("ASIAIOSFODNN7EXAMPLE", "IOSF"),
    ("sessionToken=abcdef", "abcdef"),
    ("sv=2020&sig=x%3D", "x%3"),
    ("private_key: 'abcdefghi'", "abcd"),
    ("Ab38Q~abcdefghijklmnopqrstuvwxyz0123456789ab", "abcd"),
    ("eyJraWQiOi.abc", "kid"),
    ("MASTER_KEY=foo", "foo"),
    ("secretAccessKey=>abc", ">abc"),
    ("token: 'abc def'", "abc"),
    ("x-vault-token: s.abcdefgh12345", "abcd"),
    ("sas_token=?sv=1&sig=2", "=2"),
    ("aws_session_token: AQoDYXdzEJr", "AQoD"),
    ("{'Authorization': 'Bearer abcdefgh1234'}", "abcdef"),
    ("b'authorization', b'Bearer abcdefgh1234'", "abcdef"),
    ('{\\"access_token\\":\\"abcdef\\"}', "abcdef"),
]
HARMLESS = [
    "federated by token: file needs token_file",
    "expired token: renew it",
    "AccessDenied [403, request 4442587FB7D0A2F9]",
    "SignatureDoesNotMatch: The request signature we calculated does not match the signature you provided",
    "InvalidAccessKeyId: The AWS access key Id you provided does not exist",
    "Token: expired at 2026-11-28T10:00:00Z",
    "no such key: reports/2026/a.csv",
    "secret_file: /etc/skyferry/key-2 is missing",
    "https://host.example/path@2x.png",
    "http://127.0.0.1:9000/photos/path@2x.png",
    'Bearer error="invalid_token"',
    "the storage account key: is not valid base64",
    "basic authentication is required",
]


@pytest.mark.parametrize(("text", "secret"), FORMS)
def test_what_has_the_form_of_a_secret_is_taken_out(text: str, secret: str) -> None:
    for said in (text, f"refused: {text}", f"host: h {text}\nx: y"):
        assert secret not in redact_secrets(said)
        assert SECRET in redact_secrets(said)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_an_operator_needs_stays(text: str) -> None:
    assert redact_secrets(text) == text


WORDS = [
    "key",
    "token ",
    "Bearer",
    "secret",
    "cookie",
    "authorization",
    "Abc123def456",
    ",",
    " ",
    '"',
    "'",
    "\\\\",
    "[",
]


@given(st.lists(st.sampled_from(WORDS)))
def test_texts_without_separators_need_no_search(pieces: list[str]) -> None:
    """`redact_secrets` does not search them for named credentials. Those of a scheme, which has no separator, are searched for."""
    found = re.search(_CREDENTIALS, "".join(pieces), re.IGNORECASE)
    assert found is None or found["scheme"]


def test_an_error_has_no_secret_from_the_moment_that_it_is_made() -> None:
    assert str(StoreError("refused with password=hunter2", where="s k")) == f"s k: refused with password={SECRET}"
    hint = "identity: {kind: static, secret_file: FILE}"
    assert ConfigError("no key", hint=hint).hint == hint  # hints are Skyferry's own words


def test_a_text_that_is_too_long_is_cut() -> None:
    """A server decides how long its error is; the ledger keeps it."""
    assert len(redact_secrets("x" * 10_000_000)) == LONGEST + 1


@pytest.mark.parametrize(
    "piece", ["a", "token ", "token: ", "://a", "Bearer ", "eyJ", "-----BEGIN ", "x@://", "key=", "sig"]
)
def test_no_text_takes_long(piece: str) -> None:
    """Each takes milliseconds; where one alternative ran into another, minutes."""
    assert redact_secrets(piece * LONGEST)


HEADERS = {
    "authorization": "Bearer abcdefgh+ijklmnop/qrstuv",
    "x-amz-security-token": "PLANTEDsessiontoken",
    "content-md5": "M" * 20,
}


@pytest.mark.parametrize(
    "echo",
    [
        "authorization: Bearer abcdefgh+ijklmnop/qrstuv.",
        "you sent abcdefgh+ijklmnop/qrstuv.",
        "you sent abcdefgh%2Bijklmnop%2Fqrstuv.",
        "cut: abcdefgh+ijklmnop/q",
        "PLANTEDsessiontoken twice: PLANTEDsessiontoken",
    ],
)
def test_what_was_sent_is_taken_out_of_the_answer(echo: str) -> None:
    """By its value, encoded or cut."""
    assert may_repeat_secrets(echo.encode(), HEADERS)
    left = redact_values(echo.encode(), find_secrets(HEADERS, "https://h/?upload_id=SESSION-1")).decode()
    assert SECRET in left
    assert not any(part in left for part in ("abcdefgh", "ijklmnop", "PLANTED"))


def test_what_is_no_secret_of_the_request_stays() -> None:
    body = b"content-md5: " + b"M" * 20
    assert not may_repeat_secrets(body, HEADERS, "https://h/?a=b&c=d")
    assert redact_values(body, find_secrets(HEADERS)) == body
    assert (
        redact_values(b"upload SESSION-1 is gone", find_secrets({}, "https://h/?a=b&upload_id=SESSION-1"))
        == b"upload [secret] is gone"
    )


@given(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=40), st.integers(SEEN, 60), st.booleans(), st.booleans()
)
def test_the_fast_test_misses_no_repeated_secret(secret: str, cut: int, encoded: bool, in_url: bool) -> None:
    """The thorough search finds nothing to remove if it says that nothing is repeated."""
    headers, url = ({}, f"https://h/?sig={quote(secret, safe='')}") if in_url else ({"authorization": secret}, "")
    body = b"<" + (quote(secret, safe="") if encoded else secret).encode()[:cut] + b">"
    removed = redact_values(body, find_secrets(headers, url)) != body
    assert may_repeat_secrets(body, headers, url) or not removed
