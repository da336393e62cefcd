"""Each kind of setting accepts its values, and names the fault of any other."""

from __future__ import annotations

import math
import pickle
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from skyferry.config.sections.faults import InvalidSettings
from skyferry.config.sections.kinds import Secret
from skyferry.config.settings import (
    BreakerSettings,
    FilterSettings,
    LimitSettings,
    LogSettings,
    RetrySettings,
    RouteSettings,
    ServerSettings,
    Settings,
    SimulatorSettings,
    StoreSettings,
    TracingSettings,
)
from skyferry.model import Priority

ROUTE = {"name": "r", "from": "a", "to": "b"}


@pytest.mark.parametrize(
    ("section", "name", "value", "expected"),
    [
        (StoreSettings, "bucket", 2026, "2026"),
        (StoreSettings, "bucket", 2.5, "2.5"),
        (StoreSettings, "watch", "No", False),
        (StoreSettings, "watch", 1, True),
        (StoreSettings, "watch", 0.0, False),
        (StoreSettings, "requests_per_second", " 1e3 ", 1000.0),
        (StoreSettings, "bytes_per_second", "64MiB", 64 * 2**20),
        (StoreSettings, "bytes_per_second", 2.5, 2),
        (StoreSettings, "simulator", {"seed": "7"}, SimulatorSettings(seed=7)),
        (RetrySettings, "max_retries", "5.0", 5),
        (RetrySettings, "max_retries", 5.0, 5),
        (RetrySettings, "max_delay", "1.5m", 90.0),
        (FilterSettings, "glob", "*.c", ("*.c",)),
        (FilterSettings, "glob", ["*.c", 3], ("*.c", "3")),
        (FilterSettings, "max_size", None, None),
        (FilterSettings, "prefix", "a\nb", "a\nb"),
        (RouteSettings, "priority", "high", Priority.HIGH),
        (RouteSettings, "metadata", {"year": 2026}, {"year": "2026"}),
        (RouteSettings, "storage_class", {"*": "COLD"}, {"*": "COLD"}),
        (RouteSettings, "storage_class", "keep", "keep"),
        (Settings, "workspace", "/srv", Path("/srv")),
    ],
)
def test_a_value_is_read(section: Any, name: str, value: object, expected: object) -> None:
    found = getattr(section.model_validate(required(section) | {name: value}), name)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("section", "name", "value", "message"),
    [
        (StoreSettings, "bucket", True, "must be text, not true"),
        (StoreSettings, "bucket", date(2026, 1, 1), "must be text, not 2026-01-01"),
        (StoreSettings, "bucket", ["a"], "must be text"),
        (StoreSettings, "bucket", "a\x00", "must not contain control characters"),
        (StoreSettings, "watch", "maybe", "must be true or false, not 'maybe'"),
        (StoreSettings, "watch", 2, "must be true or false, not 2"),
        (StoreSettings, "watch", [], "must be true or false"),
        (
            StoreSettings,
            "service",
            "azure",
            "must be '', 'aws', 'minio', 'r2', 'ceph',",
        ),
        (
            StoreSettings,
            "requests_per_second",
            "fast",
            "must be a number, not 'fast'",
        ),
        (StoreSettings, "requests_per_second", "\u0661", "must be a number"),
        (StoreSettings, "requests_per_second", -1, "must be greater than or equal to 0, not -1"),
        (StoreSettings, "bytes_per_second", math.inf, "must be a finite number, not .inf"),
        (StoreSettings, "bytes_per_second", "9" * 400, "must be a finite number"),
        (StoreSettings, "bytes_per_second", True, "true is not a size such as 512KiB, 64MiB or 1GB"),
        (StoreSettings, "simulator", 3, "must be a section: lines of `name: value`, not 3"),
        (BreakerSettings, "cooldown", 10**400, "is too large"),
        (RetrySettings, "max_retries", 2.5, "must be an integer, not 2.5"),
        (RetrySettings, "max_retries", "\u0661", "must be an integer"),
        (RetrySettings, "max_retries", 11, "must be less than or equal to 10, not 11"),
        (RetrySettings, "max_delay", math.nan, "must be a finite number, not .nan"),
        (LimitSettings, "part_size", "1KiB", "must be greater than or equal to 65536, not '1KiB'"),
        (ServerSettings, "patience", 0, "must be greater than 0, not 0"),
        (TracingSettings, "sample_rate", math.nan, "must be greater than or equal to 0, not .nan"),
        (FilterSettings, "glob", {"a": "b"}, "must be a list"),
        (FilterSettings, "glob", 5, "must be a list, not 5"),
        (
            RouteSettings,
            "name",
            "Not a name",
            "must be lower-case letters, digits, - and _, at most 63, not 'Not a name'",
        ),
        (RouteSettings, "name", "r\n", "must be lower-case letters, digits, - and _, at most 63"),
        (RouteSettings, "priority", "urgent", "must be 'low', 'normal' or 'high', not 'urgent'"),
        (RouteSettings, "metadata", "x", "must be a section: lines of `name: value`, not 'x'"),
        (RouteSettings, "max_deletes", "some", "'some' is not a number, a share such as 25%"),
        (LogSettings, "level", None, "must be 'debug', 'info', 'warning' or 'error', not null"),
        (LogSettings, "self", 1, "is not a setting"),
        (Settings, "workspace", 3, "must be a path, not 3"),
    ],
)
def test_a_fault_says_what_the_value_must_be(section: Any, name: str, value: object, message: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        section.model_validate(required(section) | {name: value})
    [fault] = caught.value.faults
    assert (fault.place, fault.message[: len(message)]) == ((name,), message)


def test_faults_have_places_and_all_are_found() -> None:
    data = {
        "stores": {"a": {"simulator": {"outages": ["x", []], "seed": "s"}}},
        "routes": [ROUTE, {"name": "s", "storage_class": {"k": []}, "filtre": {}}],
    }
    with pytest.raises(InvalidSettings) as caught:
        Settings.model_validate(data)
    assert [(fault.place, fault.kind) for fault in caught.value.faults] == [
        (("stores", "a", "url"), "missing"),
        (("stores", "a", "simulator", "seed"), "wrong"),
        (("stores", "a", "simulator", "outages", 1), "wrong"),
        (("routes", 1, "from"), "missing"),
        (("routes", 1, "to"), "missing"),
        (("routes", 1, "storage_class", "k"), "wrong"),
        (("routes", 1, "filtre"), "unknown"),
    ]
    assert caught.value.faults[-1].hint == "Did you mean filter?"


@pytest.mark.parametrize("value", [True, ["hunter2"], None])
def test_a_secret_is_never_shown(value: object) -> None:
    server = ServerSettings.model_validate({"token": "hunter2"})
    assert server.token == Secret("hunter2")
    assert "hunter2" not in repr(server)
    if value is not None:
        with pytest.raises(InvalidSettings) as caught:
            ServerSettings.model_validate({"token": value})
        assert str(caught.value) == "token: must be text"


def test_sections_are_values() -> None:
    one, same, other = (StoreSettings(url=url) for url in ("file://a", "file://a", "file://b"))
    assert (one == same, hash(one) == hash(same), one == other) == (True, True, False)
    assert one.model_fields_set == {"url"}
    assert pickle.loads(pickle.dumps(one)) == one


def test_values_override_others_and_are_read() -> None:
    limits = LimitSettings(batch=7).override({"memory": "64MiB"})
    assert (limits.batch, limits.memory, set(limits.model_fields_set)) == (7, 64 * 2**20, {"batch", "memory"})
    with pytest.raises(InvalidSettings, match="memory: "):
        limits.override({"memory": "much"})
    changed = limits.model_copy(update={"batch": 8})
    assert (changed.batch, limits.batch, set(changed.model_fields_set)) == (8, 7, {"batch", "memory"})


def required(section: Any) -> dict[str, str]:
    """Return what a section needs to be valid."""
    return {StoreSettings: {"url": "file://a"}, RouteSettings: ROUTE}.get(section, {})
