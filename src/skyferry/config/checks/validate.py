"""Validate data as settings. Translate pydantic's messages, and keep the valid rest for further checks."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from types import UnionType
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from skyferry.config.reading.document import NUMBERED, SECRETS, Document
from skyferry.config.reading.faults import Place, suggest
from skyferry.config.settings import Settings
from skyferry.config.urls import SECRET
from skyferry.frozen import dataclass

_IDENTITY = (
    "Remove it: the machine's own identity is the default. For a store that supports only long-lived keys, set "
    "identity: {kind: static, secret_file: FILE}, or the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
)
_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "is not a setting",
    "string_pattern_mismatch": "must be lower-case letters, digits, - and _, at most 63",
    "tuple_type": "must be a list",
    "dict_type": "must be a section: lines of `name: value`",
    "model_type": "must be a section: lines of `name: value`",
}


@dataclass(frozen=True, slots=True)
class ValidDocument:
    """The valid part of a document. Without faults, it is the whole document."""

    settings: Settings
    routes: tuple[int, ...]  # the index in the document of each route
    queues: tuple[int, ...]
    impaired: frozenset[Place]  # lost a part, so their meaning cannot be checked
    lost: frozenset[str]  # names of stores that exist but are not valid

    def with_settings(self, settings: Settings) -> ValidDocument:
        """Return the same with other settings."""
        return replace(self, settings=settings)


def validate(document: Document) -> ValidDocument:
    """Report faults to the document. Leave out faulty values, and then as much around them as needed."""
    data = deepcopy(document.data)
    impaired: set[Place] = set()
    stores = data.get("stores")
    names = frozenset(stores if isinstance(stores, dict) else ())
    for depth in (None, 2, 1):
        try:
            Settings.model_validate(_lists(data))
        except ValidationError as error:
            found = [(_place(detail["loc"], data), detail) for detail in error.errors()]
            for place, detail in found:
                if depth is None:
                    document.fault(place, *_words(detail, place))
                if detail["type"] != "extra_forbidden":
                    impaired.add(place[:2])
                _remove(data, place[: 2 if detail["type"] == "missing" and depth != 1 else depth])
    settings = Settings.model_validate(_lists(data))
    routes, queues = (_indices(data, name) for name in NUMBERED)
    return ValidDocument(settings, routes, queues, frozenset(impaired), names - settings.stores.keys())


def known_settings(place: Place, model: type[BaseModel] = Settings) -> list[str]:
    """Return the names of the settings beside the last part of `place`."""
    if len(place) > 1:
        for name, info in model.model_fields.items():
            if place[0] in (name, info.alias):
                kind: Any = info.annotation
                rest = place[1:]
                if get_origin(kind) is UnionType:
                    kind = get_args(kind)[0]
                elif get_origin(kind) in (dict, tuple):
                    kind = get_args(kind)[1 if get_origin(kind) is dict else 0]
                    rest = place[2:]
                return known_settings(rest, kind) if isinstance(kind, type) and issubclass(kind, BaseModel) else []
        return []
    return [info.alias or name for name, info in model.model_fields.items()]


def _lists(data: dict[str, Any]) -> dict[str, Any]:
    """Return the data with lists as lists again."""
    return {k: [v[i] for i in sorted(v)] if k in NUMBERED and isinstance(v, dict) else v for k, v in data.items()}


def _indices(data: dict[str, Any], name: str) -> tuple[int, ...]:
    value = data.get(name)
    return tuple(sorted(value)) if isinstance(value, dict) else ()


def _place(loc: Place, data: dict[str, Any]) -> Place:
    """Return the place in the document. Items that were left out count there, but not in `loc`."""
    if len(loc) > 1 and loc[0] in NUMBERED and isinstance(loc[1], int):
        return (loc[0], _indices(data, str(loc[0]))[loc[1]], *loc[2:])
    return loc


def _remove(data: dict[str, Any], place: Place) -> None:
    """Remove a value, or the list around it."""
    section: dict[Any, Any] = data
    for part in place[:-1]:
        if not isinstance(section.get(part), dict):
            section.pop(part, None)
            return
        section = section[part]
    section.pop(place[-1], None)


def _words(detail: ErrorDetails, place: Place) -> tuple[str, str]:
    """Return message and hint."""
    kind, value = detail["type"], detail["input"]
    if kind == "missing":
        return _WORDS[kind], ""
    if (
        kind == "extra_forbidden"
        and place[0] in ("stores", "queues", "dead_letters")
        and SECRET.fullmatch(str(place[-1]))
    ):
        return "the file must not contain a secret", _IDENTITY
    if kind == "extra_forbidden":
        return _WORDS[kind], suggest(str(place[-1]), known_settings(place))
    told = "" if place in SECRETS or isinstance(value, dict | list) else f", not {value!r}"
    if kind == "value_error":
        return detail["msg"].removeprefix("Value error, "), ""
    if kind == "string_type":
        return f"must be text{told}", "Put it in quotes."
    if kind in _WORDS:
        return _WORDS[kind] + told, ""
    return detail["msg"].replace("Input should be", "must be").replace("a valid ", "a ") + told, ""
