"""Adapt attributes to what the destination can store, as the route says. Pure.

| handling | header | name of user metadata | tag |
|---|---|---|---|
| encode | RFC 8187 in Content-Disposition, otherwise RFC 2047 | percent-encoded | `=` and two hexadecimal digits per byte |
| map | each character as its base letter, or `_` | the same | the same |
| drop | left out | left out | left out |

What is too long, too large or too much is left out by each of them. `fail` changes nothing: then the store refuses the write.
"""

from __future__ import annotations

import re
import unicodedata
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from skyferry.config.settings import Handling, UnfitSettings
from skyferry.model import AttributeLimits, Attributes, Traits
from skyferry.regex import compile_lazily
from skyferry.routing.routes import FAIL

_PLAIN = compile_lazily(r"[!-~](?:[ -~]*[!-~])?")
_NAME = compile_lazily(r"[!#$&'*+.^_`|~0-9a-z-]")  # of RFC 9110, 5.6.2, but for the percent sign
_PARAMETER = compile_lazily(r""";\s*([^\s=;*]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;]*)""")
_ATTRIBUTE = "!#$&+.^_`|~"  # characters that RFC 8187 leaves as they are, besides letters and digits


class _Fitting:
    """One object's attributes on their way, and what has been changed of them."""

    def __init__(self, limits: AttributeLimits, unfit: UnfitSettings) -> None:
        self.limits, self.unfit = limits, unfit
        self.changes: list[str] = []

    def fit_headers(self, attributes: Attributes) -> Attributes:
        changed: dict[str, Any] = {}
        for field in self.limits.headers:
            value = getattr(attributes, field)
            if value and not _PLAIN.fullmatch(value):
                header = field.replace("_", "-")
                changed[field] = self._note(
                    f"header {header}", self.unfit.headers, _code_header(field, self.unfit.headers, value)
                )
        return replace(attributes, **changed) if changed else attributes

    def fit_names(self, metadata: Mapping[str, str]) -> dict[str, str]:
        allowed = re.compile(self.limits.names)
        found = {name: value for name, value in metadata.items() if allowed.fullmatch(name)}
        for name in metadata.keys() - found.keys():
            new = _code(name, self.unfit.metadata, lambda c: _NAME.fullmatch(c) is not None, _code_name)
            if new in found or not allowed.fullmatch(new):
                new = ""
            if self._note(f"metadata {name!a}", self.unfit.metadata, new):
                found[new] = metadata[name]
        return found

    def fit_size(self, metadata: Mapping[str, str], room: int) -> dict[str, str]:
        """Leave out the largest values until all others fit into so many bytes."""
        sizes = {name: self._size(name, value) for name, value in metadata.items()}
        found, used = dict(metadata), sum(sizes.values())
        for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
            if used <= room:
                break
            used -= sizes[name]
            del found[name]
            self.changes.append(f"metadata {name!a}: left out, too large")
        return found

    def _size(self, name: str, value: str) -> int:
        octets = len(value.encode("utf-8", "surrogatepass"))
        if self.limits.coded and value and not (_PLAIN.fullmatch(value) and "=?" not in value):
            octets = 12 + -(-octets // 3) * 4
        return len(name.encode("utf-8", "surrogatepass")) + octets

    def fit_tags(self, tags: Mapping[str, str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for key, value in tags.items():
            texts = [self._fit_tag(key, self.limits.tag_key), self._fit_tag(value, self.limits.tag_value)]
            new_key, new_value = texts
            full = self.limits.tags and len(found) >= self.limits.tags
            if new_key is None or new_value is None or new_key in found or full:
                self.changes.append(f"tag {key!a}: left out")
                continue
            if (new_key, new_value) != (key, value):
                self.changes.append(f"tag {key!a}: {self.unfit.tags}")
            found[new_key] = new_value
        return found

    def _fit_tag(self, text: str, longest: int) -> str | None:
        """Return the text as the store takes it; None if it cannot."""
        allowed = re.compile(self.limits.tag_text)
        if self.limits.tag_text and not allowed.fullmatch(text):
            if self.unfit.tags == "drop":
                return None
            text = _code(text, self.unfit.tags, lambda c: c != "=" and allowed.fullmatch(c) is not None, _code_tag)
        if longest and len(text) > longest:
            return text[:longest] if self.unfit.tags == "map" else None
        return text

    def _note(self, what: str, handling: Handling, new: str) -> str:
        self.changes.append(f"{what}: {handling}" if new else f"{what}: left out")
        return new


def fit_attributes(
    attributes: Attributes, traits: Traits, unfit: UnfitSettings, reserved: int
) -> tuple[Attributes, tuple[str, ...]]:
    """Return what the store can carry, and a line for each change. `reserved` bytes of metadata are needed for provenance."""
    if unfit == FAIL:
        return attributes, ()
    fitting = _Fitting(traits.attributes, unfit)
    if unfit.headers != "fail":
        attributes = fitting.fit_headers(attributes)
    if unfit.metadata != "fail" and attributes.metadata:
        metadata: Mapping[str, str] = attributes.metadata
        metadata = fitting.fit_names(metadata) if traits.attributes.names else metadata
        attributes = replace(attributes, metadata=fitting.fit_size(metadata, traits.metadata_limit - reserved))
    if unfit.tags != "fail" and attributes.tags and traits.attributes.tags:
        attributes = replace(attributes, tags=fitting.fit_tags(attributes.tags))
    return attributes, tuple(fitting.changes)


def _code(text: str, handling: Handling, fits: Callable[[str], bool], encode: Callable[[str], str]) -> str:
    """Encode or map each character that does not fit; "" if the text is to be dropped."""
    if handling == "drop":
        return ""
    return "".join(c if fits(c) else encode(c) if handling == "encode" else _map_character(c, fits) for c in text)


def _map_character(character: str, fits: Callable[[str], bool]) -> str:
    base = unicodedata.normalize("NFKD", character)[:1]
    return base if fits(base) else "_"


def _map_text(text: str) -> str:
    return "".join(c if " " <= c <= "~" else _map_character(c, lambda base: " " <= base <= "~") for c in text).strip()


def _code_header(field: str, handling: Handling, value: str) -> str:
    if handling == "drop":
        return ""
    if handling == "map":
        return _map_text(value)
    if field == "content_disposition":
        return _code_disposition(value)
    return f"=?UTF-8?B?{b64encode(value.encode('utf-8', 'surrogatepass')).decode()}?="


def _code_disposition(value: str) -> str:
    """Give each parameter that is not ASCII a plain form, and the whole text by RFC 8187 (RFC 6266, appendix D)."""
    named = {found[1].lower() for found in re.finditer(r";\s*([^\s=;*]+)\*\s*=", value)}

    def code(found: re.Match[str]) -> str:
        name, given = found[1], found[2].strip()
        if _PLAIN.fullmatch(found[0]):
            return found[0]
        text = re.sub(r"\\(.)", r"\1", given[1:-1]) if given.startswith('"') else given
        plain = re.sub(r'["\\]', "_", _map_text(text))
        extended = (
            f"; {name}*=UTF-8''{quote(text, safe=_ATTRIBUTE, errors='surrogatepass')}"
            if name.lower() not in named
            else ""
        )
        return f'; {name}="{plain}"{extended}'

    return _map_text(_PARAMETER.sub(code, value))


def _code_name(character: str) -> str:
    return quote(character, errors="surrogatepass").lower()  # as are all names


def _code_tag(character: str) -> str:
    return "".join(f"={octet:02X}" for octet in character.encode("utf-8", "surrogatepass"))
