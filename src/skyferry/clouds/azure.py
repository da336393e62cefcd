"""Authorization of requests to Azure Storage, by a bearer token of Microsoft Entra or an account key."""

from __future__ import annotations

import base64
import binascii
import hmac
import time
from collections.abc import Mapping
from dataclasses import field
from datetime import UTC, datetime
from typing import TypeAlias
from urllib.parse import quote, urlencode, urlsplit

from skyferry.clouds.credentials import CredentialsProvider
from skyferry.errors import ConfigError
from skyferry.frozen import dataclass

SIGNED = (
    *("content-encoding", "content-language", "content-length", "content-md5", "content-type", "date"),
    *("if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range"),
)
SAS_VERSION = "2020-12-06"
_ORDER = str.maketrans({"-": None, "_": " "})


@dataclass(frozen=True, slots=True)
class SharedKey:
    """One of the two keys of a storage account. It grants full access."""

    account: str
    key: str = field(repr=False)  # base64, as the portal shows it
    name = ""  # it cannot be renewed

    def secret(self) -> bytes:
        """Decode the key. Raise ConfigError if it is malformed."""
        try:
            return base64.b64decode(self.key, validate=True)
        except binascii.Error as broken:
            raise ConfigError("the account key is not base64", where=self.account) from broken


AzureProvider: TypeAlias = CredentialsProvider[str | SharedKey]  # a string is a bearer token; "" = anonymous


def authorization(
    credential: str | SharedKey, method: str, url: str, headers: Mapping[str, str], query: Mapping[str, str]
) -> dict[str, str]:
    """Return the authorization header. `headers` are all those of the request, with lower-case names."""
    if isinstance(credential, SharedKey):
        signature = sign(credential, string_to_sign(credential.account, method, url, headers, query))
        return {"authorization": f"SharedKey {credential.account}:{signature}"}
    return {"authorization": f"Bearer {credential}"} if credential else {}


def copy_source(credential: str | SharedKey, url: str, name: str) -> dict[str, str]:
    """Return the headers that let Azure read the source blob; `url` is encoded, `name` is container/key."""
    if isinstance(credential, SharedKey):
        return {"x-ms-copy-source": f"{url}?{read_only(credential, name)}"}
    return {
        "x-ms-copy-source": url,
        **({"x-ms-copy-source-authorization": f"Bearer {credential}"} if credential else {}),
    }


def read_only(key: SharedKey, name: str) -> str:
    """Return a query that permits reading one blob for an hour ("Create a service SAS", Azure Storage REST API)."""
    until = datetime.fromtimestamp(time.time() + 3600, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    lines = ["r", "", until, f"/blob/{key.account}/{name}", "", "", "", SAS_VERSION, "b", *[""] * 7]
    said = {"sv": SAS_VERSION, "sr": "b", "sp": "r", "se": until, "sig": sign(key, "\n".join(lines))}
    return urlencode(said, quote_via=quote)


def string_to_sign(account: str, method: str, url: str, headers: Mapping[str, str], query: Mapping[str, str]) -> str:
    """Build the string to sign ("Authorize with Shared Key", Azure Storage REST API); `url` encoded, `query` not."""
    known = {**headers, "content-length": "" if headers["content-length"] == "0" else headers["content-length"]}
    lines = [method, *(known.get(name, "") for name in SIGNED)]
    lines += [f"{name}:{headers[name].strip()}" for name in sorted(headers, key=_place) if name.startswith("x-ms-")]
    lines.append(f"/{account}{urlsplit(url).path}")
    lines += [f"{name.lower()}:{query[name]}" for name in sorted(query, key=str.lower)]
    return "\n".join(lines)


def sign(key: SharedKey, text: str) -> str:
    """Sign a text with HMAC-SHA256; base64, as Azure expects."""
    return base64.b64encode(hmac.digest(key.secret(), text.encode(), "sha256")).decode()


def _place(name: str) -> str:
    """Sort key of a header name: the service ignores `-` and sorts `_` before digits and letters.

    Microsoft's clients do the same (`_storage_header_sort` of azure-storage-blob).
    """
    return name.translate(_ORDER)
