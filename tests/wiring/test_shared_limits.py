"""The limits that a configuration shares, and their names in the ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skyferry.cli.arguments.object_urls import ObjectLocation
from skyferry.cli.commands.objects.copying.prepare import build_settings
from skyferry.cli.commands.objects.copying.request import CopyOptions
from skyferry.config.settings import Settings, StoreSettings
from skyferry.engine.resilience.rate_limit import RateLimiter
from skyferry.engine.resilience.shared.breaker import FleetBreaker
from skyferry.engine.resilience.shared.limits import FleetLimits
from skyferry.engine.resilience.shared.rates import FleetRateLimiter
from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.observe import Fanout
from skyferry.testing.clock import ManualClock
from skyferry.wiring.protection import build_breakers, build_protection, build_shared, name_shared


def make_settings(tmp_path: Path, **stores: dict[str, Any]) -> Settings:
    return Settings.model_validate({"workspace": str(tmp_path), "stores": stores})


def build(settings: Settings) -> tuple[FleetLimits | None, dict[str, type], dict[str, type | None]]:
    """Return the shared limits, and the classes of the breakers and of the rate limiters by store."""
    clock, observer = ManualClock(), Fanout(())
    shared = build_shared(settings, MemoryLedger("one", clock), clock, observer)
    breakers = build_breakers(settings, settings.stores, clock, shared)
    protections = {
        store: build_protection(settings, store, breaker, observer, clock, None, shared)
        for store, breaker in breakers.items()
    }
    rates = {store: type(p.limits.requests) if p.limits else None for store, p in protections.items()}
    return shared, {store: type(breaker) for store, breaker in breakers.items()}, rates


async def test_only_what_is_configured_is_shared(tmp_path: Path) -> None:
    own = {"url": "file://own", "requests_per_second": 5}
    shared, breakers, rates = build(make_settings(tmp_path, own=own))
    assert shared is None
    given = {**own, "url": "file://given", "shared_limits": True}
    unlimited = {"url": "file://unlimited", "shared_limits": True}
    shared, breakers, rates = build(make_settings(tmp_path, own=own, given=given, unlimited=unlimited))
    assert shared is not None
    assert {store for store, kind in breakers.items() if kind is FleetBreaker} == {"given", "unlimited"}
    assert rates == {"own": RateLimiter, "given": FleetRateLimiter, "unlimited": None}


def test_a_store_is_known_by_what_it_is(tmp_path: Path) -> None:
    """Not by its name, nor by the path of the workspace."""
    for url in ("s3://bucket?region=eu-west-1", "file://folder", "gs://bucket", "file://\u00fc\udcff"):
        stores = {name: {"url": url, "shared_limits": True} for name in ("before", "after")}
        (before,) = name_shared(make_settings(tmp_path, before=stores["before"])).values()
        (after,) = name_shared(make_settings(tmp_path / "elsewhere", after=stores["after"])).values()
        assert before == after
        assert before.encode()
    both = make_settings(
        tmp_path, a={"url": "s3://a", "shared_limits": True}, b={"url": "s3://b", "shared_limits": True}
    )
    assert len(set(name_shared(both).values())) == 2


def test_a_copy_has_limits_of_its_own() -> None:
    """Its processes divide the rates."""
    place = ObjectLocation("x", StoreSettings(url="file:///x", shared_limits=True, requests_per_second=4), "")
    made = build_settings(place, place, Settings(), CopyOptions())
    assert [store.requests_per_second for store in made.stores.values()] == [4, 4]
    assert not any(store.shared_limits for store in made.stores.values())
