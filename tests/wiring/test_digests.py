"""The digests by which workers with other routes are found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skyferry.config.settings import Settings
from skyferry.wiring.identities import digest_queues, digest_routes

STORES = {"inbox": {"url": "file://inbox"}, "archive": {"url": "file://archive"}, "other": {"url": "file://other"}}
ROUTE = {"name": "all", "from": "inbox", "to": "archive"}
QUEUES = [{"name": "events", "url": "redis://127.0.0.1/events"}]


def configure(workspace: Path = Path("here"), **given: Any) -> Settings:
    """Return a configuration with one route."""
    return Settings(**{"workspace": workspace, "stores": STORES, "routes": [ROUTE], "queues": QUEUES, **given})


@pytest.mark.parametrize(
    "changed",
    [
        {"routes": [ROUTE | {"filter": {"prefix": "a/"}}]},
        {"routes": [ROUTE | {"key": "{name}"}]},
        {"routes": [ROUTE | {"to": "other"}]},
        {"routes": [ROUTE, ROUTE | {"name": "more", "to": "other"}]},
        {"stores": STORES | {"archive": {"url": "file://moved"}}},
        {"stores": STORES | {"archive": {"url": "s3://archive?endpoint=https://one.example"}}},
    ],
)
def test_other_routes_have_another_digest(changed: dict[str, Any]) -> None:
    """Also the same name for another store."""
    assert digest_routes(configure(**changed)) != digest_routes(configure())


@pytest.mark.parametrize(
    "changed",
    [
        {"workspace": Path("elsewhere")},
        {"routes": [ROUTE | {"filter": {}, "key": "{key}", "deletes": "ignore"}]},
        {"stores": STORES | {"unused": {"url": "file://unused"}}},
        {"stores": STORES | {"archive": {"url": "file://archive", "requests_per_second": 5}}},
        {"queues": [{"name": "others", "url": "redis://127.0.0.1/others"}]},
        {"ledger": {"url": "redis://127.0.0.1/ledger"}},
        {"drain": 1.0},
    ],
)
def test_settings_that_route_no_event_do_not_count(changed: dict[str, Any]) -> None:
    """Such as the folder of a machine, its limits, and defaults that are written out."""
    assert digest_routes(configure(**changed)) == digest_routes(configure())


def test_the_order_of_routes_does_not_count() -> None:
    """Each route decides by itself."""
    more = ROUTE | {"name": "more", "to": "other"}
    assert digest_routes(configure(routes=[ROUTE, more])) == digest_routes(configure(routes=[more, ROUTE]))


def test_the_order_of_names_does_not_count() -> None:
    """Tools that write YAML sort them, and people do not."""
    names = {"team": "blue", "shelf": "7"}
    one, two = (
        configure(routes=[ROUTE | {"metadata": dict(each)}]) for each in (names.items(), [*names.items()][::-1])
    )
    assert digest_routes(one) == digest_routes(two) != digest_routes(configure())


def test_the_same_loopback_on_two_machines_is_two_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server elsewhere is one."""
    near, far = (
        configure(),
        configure(queues=[{"name": "events", "url": "redis://queues.example/events", "allow_http": True}]),
    )
    before = digest_queues(near), digest_queues(far)
    monkeypatch.setattr("skyferry.wiring.identities.identify_machine", lambda: "another machine")
    assert (digest_queues(near) != before[0], digest_queues(far) == before[1]) == (True, True)
