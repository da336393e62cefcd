"""Validate data as settings, and keep the valid rest for further checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

from skyferry.config.reading.document import NUMBERED, Document
from skyferry.config.reading.faults import Place, suggest
from skyferry.config.reading.renamed import old_names
from skyferry.config.sections.faults import InvalidSettings, ValueFault
from skyferry.config.sections.kinds import Kind, Many, Maybe, NamedValues
from skyferry.config.sections.section import SectionKind
from skyferry.config.settings import Settings
from skyferry.config.urls import SECRET
from skyferry.frozen import dataclass

_IDENTITY = (
    "Remove it: the machine's own identity is the default. For a store that supports only long-lived keys, set "
    "identity: {kind: static, secret_file: FILE}, or the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
)


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
    for place in document.empty:
        if hint := _suggest_setting(place):
            document.fault(place, "is not a setting", hint)
    data = deepcopy(document.data)
    impaired: set[Place] = set()
    stores = data.get("stores")
    names = frozenset(stores if isinstance(stores, dict) else ())
    settings = None
    for depth in (None, 2, 1):
        try:
            settings = Settings.model_validate(_lists(data))
            break
        except InvalidSettings as error:
            indices = {name: _indices(data, name) for name in NUMBERED}
            found = [(_place(fault.place, indices), fault) for fault in error.faults]
            for place, fault in found:
                if depth is None:
                    document.fault(place, *_explain_fault(fault, place))
                if fault.kind != "unknown":
                    impaired.add(place[:2])
                _remove(data, place[: 2 if fault.kind == "missing" and depth != 1 else depth])
    settings = settings or Settings.model_validate(_lists(data))
    routes, queues = (_indices(data, name) for name in NUMBERED)
    return ValidDocument(settings, routes, queues, frozenset(impaired), names - settings.stores.keys())


def _suggest_setting(place: Place) -> str:
    """Return a hint if the last part of a place is no setting; "" if it is one, or something before it is at fault."""
    kind: Kind = SectionKind(Settings)
    for index, part in enumerate(place):
        while isinstance(kind, Maybe):
            kind = kind.inner
        if isinstance(kind, Many | NamedValues):
            kind = kind.inner
        elif isinstance(kind, SectionKind):
            fields, found = kind.kind.model_fields, kind.kind.find_kinds()
            names = {field.alias or name: name for name, field in fields.items()}
            name = names.get(str(part), str(part))
            if name not in found:
                known = any(old_names(None, place)) or index + 1 < len(place)
                return "" if known else suggest(str(part), names)
            kind = found[name]
    return ""


def _lists(data: dict[str, Any]) -> dict[str, Any]:
    """Return the data with lists as lists again."""
    return {k: [v[i] for i in sorted(v)] if k in NUMBERED and isinstance(v, dict) else v for k, v in data.items()}


def _indices(data: dict[str, Any], name: str) -> tuple[int, ...]:
    value = data.get(name)
    return tuple(sorted(value)) if isinstance(value, dict) else ()


def _place(loc: Place, indices: Mapping[str, Sequence[int]]) -> Place:
    """Return the place in the document. Items that were left out count there, but not in `loc`."""
    if len(loc) > 1 and loc[0] in NUMBERED and isinstance(loc[1], int):
        return (loc[0], indices[str(loc[0])][loc[1]], *loc[2:])
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


def _explain_fault(fault: ValueFault, place: Place) -> tuple[str, str]:
    """Return message and hint."""
    if (
        fault.kind == "unknown"
        and place[0] in ("stores", "queues", "dead_letters")
        and SECRET.fullmatch(str(place[-1]))
    ):
        return "the file must not contain a secret", _IDENTITY
    return fault.message, fault.hint
