"""The configuration as it was written: plain data, with the origin of each value."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from skyferry.config.reading.faults import ConfigFault, InvalidYaml, Place, format_place, suggest
from skyferry.config.reading.files import explain_unreadable, read_config
from skyferry.config.reading.renamed import UNTIL, old_names
from skyferry.config.sections.kinds import Many, NamedValues
from skyferry.config.sections.section import find_section
from skyferry.config.settings import Settings
from skyferry.frozen import dataclass
from skyferry.regex import compile_lazily

PREFIX = "SKYFERRY_"
NUMBERED = ("routes", "queues")  # lists, kept as {index: item} so that a place stays where it is
SECRETS = (("server", "token"),)
_OF_KUBERNETES = compile_lazily(
    r"(.*_)?(service_host|service_port(_.*)?|port(_\d+_(tcp|udp|sctp)(_.*)?)?)"
)  # of services
# Variables of `skyferry.testing` and of the command line, no settings.
OTHER = ("SKYFERRY_SERVERS", "SKYFERRY_CONFIG", "SKYFERRY_EVENT_LOOP")


@dataclass(slots=True)
class Document:
    """Data with the origin of each value. Faults are collected, so that all are reported at once."""

    data: dict[str, Any] = field(default_factory=dict)
    lines: dict[Place, int] = field(default_factory=dict)
    origins: dict[Place, str] = field(default_factory=dict)  # the variable or option that set it
    empty: list[Place] = field(default_factory=list)  # written without a value, so the data do not have them
    faults: list[ConfigFault] = field(default_factory=list)
    warnings: list[ConfigFault] = field(default_factory=list)
    notices: list[ConfigFault] = field(
        default_factory=list
    )  # warnings of old names, and of variables without a setting
    modules: dict[str, bool] = field(default_factory=dict)  # looked for, and whether they are installed

    def fault(self, place: Place, message: str, hint: str = "") -> None:
        """Add a fault at `place`."""
        self.faults.append(self._at(place, message, hint))

    def warn(self, place: Place, message: str, hint: str = "") -> None:
        """Add a warning at `place`."""
        self.warnings.append(self._at(place, message, hint))

    def rename(self, place: Place, message: str) -> None:
        """Warn of an old name at `place`."""
        self.notices.append(self._at(place, message, f"Use the new name; {UNTIL}."))

    def finds_module(self, name: str) -> bool:
        """Return whether a module is installed. Thousands of stores look for the same few."""
        if name not in self.modules:
            try:
                self.modules[name] = importlib.util.find_spec(name) is not None
            except ModuleNotFoundError:  # the package around it
                self.modules[name] = False
        return self.modules[name]

    def _at(self, place: Place, message: str, hint: str) -> ConfigFault:
        for end in range(len(place), 0, -1):
            if origin := self.origins.get(place[:end]):
                return ConfigFault(origin, message, hint)
            if line := self.lines.get(place[:end]):
                return ConfigFault(format_place(place), message, hint, line)
        return ConfigFault(format_place(place) or "configuration", message, hint)

    def set(self, place: Place, value: object, origin: str) -> None:
        """Override one value, and create the sections around it."""
        section: Any = self.data
        for part in place[:-1]:
            section = section.setdefault(part, {})
            if not isinstance(section, dict):
                return  # validation reports it
        section[place[-1]] = value
        self.origins[place] = origin

    def read(self, file: Path) -> None:
        """Read a YAML file."""
        try:
            value = self._parse(read_config(file), self.lines)
        except OSError as error:
            self.faults.append(explain_unreadable(file, error))
        except InvalidYaml as error:
            self.faults.append(ConfigFault(file.name, error.message, error.hint, error.line))
        else:
            if isinstance(value, dict):
                self._rename((), value)
                self.data = value
            elif value is not None:
                self.fault((), "the file contains no settings", "Write lines such as `workspace: data`.")
            else:
                self.warn(
                    (), "the file is empty, so the embedded default is used", "Write its routes and stores into it."
                )
        for place in SECRETS:
            if place in self.lines:
                variable = PREFIX + "__".join(place).upper()
                self.fault(place, "the file must not contain a secret", f"Set {variable}, or token_file.")

    def _reject_named_items(self) -> None:
        """Report names where a list is needed, and leave them out."""
        for name in NUMBERED:
            section = self.data.get(name)
            if isinstance(section, dict) and not all(isinstance(part, int) for part in section):
                self.fault((name,), "must be a list", "Begin each item with `- `, and give it a name by `name:`.")
                del self.data[name]

    def overlay(self, environ: Mapping[str, str]) -> None:
        """Apply variables `SKYFERRY_SECTION__FIELD=value`. Ignore empty values; [...] and {...} are YAML.

        An unknown name without a double underscore is ignored: Kubernetes sets variables such as SKYFERRY_PORT in every pod if
        a service is called skyferry. If the name resembles a setting, each command warns.
        """
        spelled: dict[Place, Place] = {}  # the place of each setting -> that place as its variable spells it
        for variable in sorted(v for v in environ if v.startswith(PREFIX) and v not in OTHER and environ[v].strip()):
            first, *rest = variable.removeprefix(PREFIX).lower().split("__")
            if first not in Settings.model_fields:
                hint = _suggest_variable(first) or suggest(first, [*Settings.model_fields, "config", "event_loop"])
                if rest:
                    self.faults.append(ConfigFault(variable, "sets an unknown setting", hint))
                elif "Known:" not in hint and not _OF_KUBERNETES.fullmatch(first):
                    self.notices.append(ConfigFault(variable, "is ignored, for there is no such setting", hint))
                continue
            place = self._place(first, rest)
            if first in NUMBERED and len(place) > 1 and not isinstance(place[1], int):
                hint = f"Write its number, as in {PREFIX}{first.upper()}__0__{'__'.join(rest[1:]).upper() or 'NAME'}."
                self.faults.append(ConfigFault(variable, f"names an item of {first}, which is a list", hint))
                continue
            try:
                value = self._value(place, environ[variable])
                self.origins[place] = variable
                now = self._rename(place, value)
                if (written := spelled.setdefault(now, place)) != place:
                    self._twice(place if place != now else written, now)
                self.set(now, value, variable)
            except InvalidYaml as error:
                self.faults.append(ConfigFault(variable, error.message))
        self._reject_named_items()

    def _rename(self, place: Place, value: object) -> Place:
        """Give old spellings in the value at `place` their new names, with a warning for each; return the place itself."""
        for old, new in list(old_names(value, place)):
            self.rename(old, f"`{format_place(old)}` is now called `{format_place(new)}`")
            if old == place:
                return new
            section: Any = value
            for part in old[len(place) : -1]:
                section = section[part]
            if new[-1] in section:
                self._twice(old, new)
            section.setdefault(new[-1], section.pop(old[-1]))
            if old in self.lines:
                self.lines.setdefault(new, self.lines[old])
        return place

    def _twice(self, old: Place, new: Place) -> None:
        self.fault(old, f"is the old name of `{format_place(new)}`, which is set as well", "Remove the old name.")

    def _place(self, first: str, rest: list[str]) -> Place:
        """Return the place that a variable names. Case and hyphens of names in the file do not count."""
        place: list[str | int] = [first]
        section: Any = self.data.get(first)
        for part in rest:
            known = section if isinstance(section, dict) else {}
            name = next((k for k in known if isinstance(k, str) and k.lower().replace("-", "_") == part), part)
            index = len(place) == 1 and first in NUMBERED and part.isdecimal()
            place.append(int(part) if index else name)
            section = known.get(place[-1])
        return tuple(place)

    def _value(self, place: Place, text: str) -> object:
        if place in SECRETS or not text.lstrip().startswith(("[", "{")):
            return text
        return self._parse(text.encode(), {}, place)

    def _parse(self, text: bytes, lines: dict[Place, int], place: Place = ()) -> object:
        from skyferry.config.reading.yaml_text import parse_yaml  # most commands read none

        return parse_yaml(text, lines, place, twice=self._fault_twice, empty=self.empty.append)

    def _fault_twice(self, place: Place, first: int) -> None:
        self.fault(place, "is given twice", f"It is also on line {first}.")


def _suggest_variable(name: str) -> str:
    """Return a hint for a name whose parts are separated by one underscore, such as `log_level`; "" for other names."""
    for section, kind in Settings.find_kinds().items():
        field = name.removeprefix(f"{section}_")
        of_items = isinstance(kind, Many | NamedValues)
        if field != name and (of_items or ((found := find_section(kind)) and field in found.model_fields)):
            example = "" if of_items else f" Did you mean {PREFIX}{section.upper()}__{field.upper()}?"
            return f"Two underscores separate the parts.{example}"
    return _suggest_near_variable(name)


def _suggest_near_variable(name: str) -> str:
    """Suggest a name for one with slips in its parts, such as `limit_memory`."""
    from difflib import get_close_matches

    sections = {part: found for part, kind in Settings.find_kinds().items() if (found := find_section(kind))}
    words = name.split("_")
    for end in range(1, len(words)):
        for section in get_close_matches("_".join(words[:end]), sections, 1, cutoff=0.8):
            for near in get_close_matches("_".join(words[end:]), sections[section].model_fields, 1, cutoff=0.8):
                return f"Two underscores separate the parts. Did you mean {PREFIX}{section.upper()}__{near.upper()}?"
    return ""
