"""Signatures of requests to AWS (AWS Signature Version 4, "Signing AWS API requests", IAM User Guide).

The signing key of a day is kept. docs/decisions/0009-one-s3-client.md says why it is not left to a library.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import sha256 as hash_sha256

from skyferry.clouds.credentials import S3Credentials
from skyferry.regex import compile_lazily

EXPIRED = ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken")
_ALGORITHM = "AWS4-HMAC-SHA256"
_SPACES = compile_lazily(" {2,}")


class Signer:
    """Signs requests to one service in one region."""

    def __init__(self, service: str, region: str, clock: Callable[[], float] = time.time) -> None:
        self._scope = f"/{region}/{service}/aws4_request"
        self._service, self._region, self._clock = service, region, clock
        self._second, self._date = -1, ""  # the last second, and how it is written
        self._secret, self._day = "", ""  # what the signing key was derived from
        self._mac = HmacKey(b"")

    def sign(
        self, credentials: S3Credentials, method: str, path: str, headers: Mapping[str, str], sha256: str
    ) -> dict[str, str]:
        """Return the headers with date and signature. All of them are signed.

        `path` and its query are encoded, the latter with `=` after each name; `sha256` is that of the body, hexadecimal.
        """
        date = self._format_date(int(self._clock()))
        signed = {**headers, "X-Amz-Date": date, "X-Amz-Content-Sha256": sha256}
        if credentials.token:
            signed["X-Amz-Security-Token"] = credentials.token
        signed["Authorization"] = self.authorize(credentials, date, method, path, signed, sha256)
        return signed

    def authorize(
        self, credentials: S3Credentials, date: str, method: str, path: str, headers: Mapping[str, str], sha256: str
    ) -> str:
        """Return the value of the Authorization header. `date` is that of the request: 20150830T123600Z."""
        names, request = write_canonically(method, path, headers, sha256)
        scope = f"{date[:8]}{self._scope}"
        digest = hash_sha256(request.encode("utf-8", "surrogateescape")).hexdigest()
        text = f"{_ALGORITHM}\n{date}\n{scope}\n{digest}"
        signature = self._derive_key(credentials.secret_key, date[:8]).sign(text.encode())
        return f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"

    def _format_date(self, second: int) -> str:
        if second != self._second:
            self._second, self._date = second, time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        return self._date

    def _derive_key(self, secret: str, day: str) -> HmacKey:
        if (secret, day) != (self._secret, self._day):
            key = f"AWS4{secret}".encode()
            for part in (day, self._region, self._service, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._secret, self._day, self._mac = secret, day, HmacKey(key)
        return self._mac


class HmacKey:
    """A key of HMAC-SHA256 that is used again and again (RFC 2104): the blocks that depend on it alone are hashed once."""

    def __init__(self, key: bytes) -> None:
        """`key` has at most 64 bytes."""
        block = key.ljust(64, b"\0")
        self._inner, self._outer = (hash_sha256(bytes(byte ^ pad for byte in block)) for pad in (0x36, 0x5C))

    def sign(self, text: bytes) -> str:
        """Return the HMAC of a text, hexadecimal."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text)
        outer.update(inner.digest())
        return outer.hexdigest()


def write_canonically(method: str, path: str, headers: Mapping[str, str], sha256: str) -> tuple[str, str]:
    """Return the names of the signed headers, and the request in the form that is signed."""
    names, order = _sort_names(tuple(headers))
    listed = "\n".join([f"{lower}:{headers[name]}" for lower, name in order])
    if " " in listed and ("  " in listed or ": " in listed or " \n" in listed or listed[-1:] == " "):
        listed = "\n".join([f"{lower}:{_trim(headers[name])}" for lower, name in order])
    path, _, query = path.partition("?")
    if "&" in query:
        query = "&".join("=".join(pair) for pair in sorted(tuple(each.split("=", 1)) for each in query.split("&")))
    return names, f"{method}\n{path}\n{query}\n{listed}\n\n{names}\n{sha256}"


@lru_cache(1024)
def _sort_names(names: tuple[str, ...]) -> tuple[str, list[tuple[str, str]]]:
    """Return the names as they are signed, and their order with each as it is sent. Most requests have those of one before."""
    order = sorted((name.lower(), name) for name in names)
    return ";".join(lower for lower, _ in order), order


def _trim(value: str) -> str:
    """Remove spaces at both ends, and write sequences of spaces as one."""
    return _SPACES.sub(" ", value.strip()) if "  " in value or value[:1] == " " or value[-1:] == " " else value
