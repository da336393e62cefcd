"""Redact secrets in texts of other systems, by the values sent and by the shapes of secrets. Pure.

A server may echo a request: a proxy shows its headers, S3 lists the text to sign. An SDK's exception may contain a request.
Errors reach logs, the ledger, the API and terminals, so secrets are redacted where an error is made: by shape in the message of
`SkyferryError`, by value in the HTTP client's responses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from urllib.parse import quote

from skyferry.regex import compile_lazily

SECRET = "[secret]"  # noqa: S105 - the replacement
LEAST = 8  # characters: shorter secrets could match common words
SEEN = 16  # characters at the beginning of a secret that identify a truncated one

LONGEST = 4096  # characters of a redacted text
# Names of secrets, alone or at the end of a longer name: x-amz-security-token, aws_secret_access_key, AccountKey.
_NAMES = (
    r"(?:credentials?|pass(?:word|wd|phrase)|pwd|secret|token|sig|signature|upload[_-]?id|assertion"
    r"|(?:api|access|account|private|customer|encryption|session|shared|signing|storage|subscription|secret|master)[_-]?key)"
)
_VALUE = r"[^\s\\\"'<>&;,()\[\]{}]"
_QUOTE = r"(?:\\{0,3}[\"'])?"  # escaped too, as in JSON inside JSON
_MIXED = rf"(?={_VALUE}{{0,512}}(?:\d|(?-i:[a-z][A-Z])))"  # unlike any word of a sentence
_SHAPES = (  # compiled on first use, like _CREDENTIALS: most commands have no error
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)"
    r"|eyJ[\w-]{4,}+\.[\w.-]+"  # a JSON web token, RFC 7519
    r"|ya29\.[\w.-]{4,}|1//[\w-]{8,}|GOCSPX-[\w-]{8,}|AIza[\w-]{20,}"  # Google
    r"|(?:AKIA|ASIA|AGPA|AIDA|AROA|ANPA)[A-Z0-9]{12,}"  # AWS: key ids, which identify their owners
    r"|(?:FwoG|IQoJ|AQoD|FQoG)[\w+/=%-]{6,}"  # AWS: session tokens
    r"|(?<![\w+/])[\w+/]{86}=="  # Azure: keys of accounts, 64 bytes
    r"|(?<![\w~.-])[\w~.-]{3}[78]Q~[\w~.-]{31,}"  # Entra: client secrets
    r"|(?:gh[oprsu]_|github_pat_|glpat-|npm_|pypi-|hf_|dop_v1_|hv[sbr]\.|dapi|shpat_|lin_api_|sq0csp-)[\w.-]{8,}"
    r"|xox[abeoprs]-[\w-]{8,}|[spr]k_(?:live|test)_\w{8,}|SG\.[\w-]{8,}\.[\w-]{8,}|(?<!\w)sk-[\w-]{16,}|AGE-SECRET-KEY-\w+"
)
_BEGINNINGS = (  # of the shapes: a cheap test first, since most texts have none
    "-----BEGIN", "eyJ", "ya29.", "1//", "GOCSPX-", "AIza", "AKIA", "ASIA", "AGPA", "AIDA", "AROA", "ANPA", "FwoG",
    "IQoJ", "AQoD", "FQoG", "==", "Q~", "gho_", "ghp_", "ghr_", "ghs_", "ghu_", "github_pat_", "glpat-", "npm_",
    "pypi-", "hf_", "dop_v1_", "hvs.", "hvb.", "hvr.", "dapi", "shpat_", "lin_api_", "sq0csp-", "xox", "k_live_",
    "k_test_", "SG.", "sk-", "AGE-SECRET-KEY-",
)  # fmt: skip
_WORDS = (
    "authorization", "cookie", "credential", "pass", "pwd", "secret", "token", "sig", "upload", "assertion", "key",
)  # fmt: skip
_SCHEMES = ("bearer", "basic", "negotiate", "sharedkey", "aws4")
_USERINFO = compile_lazily(r"(?<=://)(?:[^\s/@:]{0,256}:(?!\d{1,5}/)[^\s@]{1,512}|[^\s/@:]{16,512})(?=@)")
_CREDENTIALS = (
    r"(?P<name>authorization\\{0,3}[\"']?\s{0,4}[:=]\s{0,4}[\"']?)(?:[\w-]{1,32}\s+)?[^\s\"'<]+(?:\s{0,4},\s{0,4}\w+=[^\s\"'<,]+)*"
    r"|(?P<line>cookie\\{0,3}[\"']?\s{0,4}[:=]\s{0,4}[\"']?)[^\r\n\"'<]+"
    r"|(?P<scheme>\b(?:bearer|basic|negotiate|sharedkey(?:lite)?|aws4-hmac-sha256)\s+)(?!error=|realm=|scope=|authentication)"
    rf"{_MIXED}[^\s\"'<]{{8,}}(?:\s{{0,4}},\s{{0,4}}\w+=[^\s\"'<,]+)*"
    rf"|(?P<tag>{_NAMES}>|{_NAMES}{_QUOTE}\s{{0,4}}=>?\s{{0,4}}{_QUOTE}){_VALUE}+"  # name=value, <name>value
    rf"|(?P<quoted>{_NAMES}{_QUOTE}\s{{0,4}}[:=]>?\s{{0,4}}\\{{0,3}}[\"'])[^\"']{{4,}}"  # "name": "value"
    rf"|(?P<colon>{_NAMES}{_QUOTE}\s{{0,4}}:\s{{0,4}})(?:{_MIXED}{_VALUE}{{8,}}|{_VALUE}{{24,}})"  # name: value
)
_HEADERS = compile_lazily(
    r"authorization|cookie|token|secret|signature|(?<!md5-)key(?!-md5|-sha256|-id)$|customer-key$", re.I
)
_PLAIN = compile_lazily(r"[A-Za-z0-9_.~-]*")  # characters before the first that may be repeated percent-encoded
_QUERY = compile_lazily(r"[?&][^=&]*(?:token|sig(?:nature)?|secret|upload_id)=([^&#]+)", re.IGNORECASE)


def redact_secrets(text: str) -> str:
    """Replace whatever looks like a secret and truncate the text to LONGEST. Names of secrets stay."""
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    if any(each in text for each in _BEGINNINGS):
        text = re.sub(_SHAPES, SECRET, text)
    if "://" in text and "@" in text:
        text = _USERINFO.sub(SECRET, text)
    low = text.lower()
    named = ("=" in text or ":" in text or ">" in text) and any(each in low for each in _WORDS)
    return (
        re.sub(_CREDENTIALS, _kept, text, flags=re.IGNORECASE)
        if named or any(each in low for each in _SCHEMES)
        else text
    )


def _kept(match: re.Match[str]) -> str:
    return f"{next(filter(None, match.groups()))}{SECRET}"


def find_secrets(headers: Mapping[str, str], url: str = "") -> list[bytes]:
    """Return the secrets in a request: the values of sensitive headers and query parameters."""
    parts = _split_secrets(headers, url)
    forms = {form for part in parts for form in (part, quote(part, safe=""))}
    return [form.encode("utf-8", "surrogateescape") for form in sorted(forms, key=len, reverse=True)]


def may_repeat_secrets(text: bytes, headers: Mapping[str, str], url: str = "") -> bool:
    """Return False if the text has none of the secrets in a request. Costs a tenth of `find_secrets`."""
    for part in _split_secrets(headers, url):
        start = _PLAIN.match(part, 0, SEEN)  # it matches always
        if start and start[0].encode() in text:
            return True
    return False


def _split_secrets(headers: Mapping[str, str], url: str) -> list[str]:
    values = [headers[name] for name in _find_sensitive(tuple(headers))]
    if "=" in url:
        values += _QUERY.findall(url)
    return [part for value in values for part in (value, *value.split(" ")[1:]) if len(part) >= LEAST]


@lru_cache(1024)
def _find_sensitive(names: tuple[str, ...]) -> list[str]:
    """Return the names of sensitive headers. Most requests have the names of one before them."""
    return [name for name in names if _HEADERS.search(name)]


def redact_values(body: bytes, secrets: Iterable[bytes]) -> bytes:
    """Replace the secrets in a body, truncated ones too."""
    for secret in secrets:
        start = secret[:SEEN]
        at = body.find(start)
        while at >= 0:
            end = at + len(start)
            while end - at < len(secret) and body[end : end + 1] == secret[end - at : end - at + 1]:
                end += 1
            body = body[:at] + SECRET.encode() + body[end:]
            at = body.find(start, at + len(SECRET))
    return body
