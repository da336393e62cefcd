"""Settings and options that were renamed. The old spellings are accepted with a warning until 1.0. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from skyferry.config.reading.faults import Place

ANY = "*"  # any name, or any index of a list
UNTIL = "the old name is accepted until 1.0"

SETTINGS: Mapping[Place, str] = MappingProxyType(
    {
        ("stores", ANY, "uploads"): "large_upload_mode",
        ("routes", ANY, "restore"): "allow_loopback",
        ("ledger", "keep"): "retention",
        ("retry", "base"): "initial_delay",
        ("retry", "cap"): "max_delay",
        ("retry", "request_base"): "request_initial_delay",
        ("limits", "held_messages"): "max_in_flight_messages",
    }
)
URL_OPTIONS: Mapping[str, str] = MappingProxyType(  # an option of a URL has the name of the setting that it overrides
    {str(place[-1]): name for place, name in SETTINGS.items() if place[0] == "stores"}
)
COMMAND_OPTIONS: Mapping[str, str] = MappingProxyType({"--again": "--ignore-ledger"})


def old_names(value: object, place: Place = ()) -> Iterator[tuple[Place, Place]]:
    """Yield the place of each old spelling in the value at `place`, and the place that it has now."""
    for pattern, name in SETTINGS.items():
        for old in _matches(pattern, value, place):
            yield old, (*old[:-1], name)


def _matches(pattern: Place, value: object, place: Place) -> Iterator[Place]:
    if any(wanted not in (ANY, part) for wanted, part in zip(pattern, place, strict=False)):
        return
    if len(place) == len(pattern):
        yield place
    elif len(place) < len(pattern) and isinstance(value, dict):
        for part, below in value.items():
            yield from _matches(pattern, below, (*place, part))
