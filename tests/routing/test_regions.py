"""A worker runs the routes of its region, and knows those of the others."""

from __future__ import annotations

from typing import Any

import pytest

from skyferry.config.regions import allows_region
from skyferry.config.settings import Settings
from skyferry.model import Change, ObjectEvent, ObjectRef, Provider
from skyferry.routing.routes import Routes

STORES = {
    "eu": {"url": "file://eu", "region": "West Europe"},
    "us": {"url": "file://us", "region": "eastus"},
    "copy": {"url": "file://copy"},
}


def routes(region: str) -> Routes:
    given: list[dict[str, Any]] = [{"name": f"from-{name}", "from": name, "to": "copy"} for name in ("eu", "us")]
    return Routes(
        Settings.model_validate(
            {"region": region, "stores": STORES, "routes": [g | {"run_in": "source"} for g in given]}
        )
    )


def event(bucket: str) -> ObjectEvent:
    return ObjectEvent("e1", Change.CREATED, ObjectRef(Provider.FILE, bucket, "k"), 1e9)


@pytest.mark.parametrize(("region", "own", "other"), [("westeurope", "eu", "us"), ("East US", "us", "eu")])
def test_events_of_other_regions_make_no_transfer_and_name_the_region(region: str, own: str, other: str) -> None:
    """Their transfers are still known, so that no worker elsewhere calls them orphans."""
    compiled = routes(region)
    assert [route.name for route in compiled] == [f"from-{own}"]
    (transfer,) = compiled.match(event(own))
    assert compiled.match(event(other)) == []
    assert compiled.untaken(event(other)).region == {"eu": "westeurope", "us": "eastus"}[other]
    assert compiled.untaken(event("third")).region == ""
    (foreign,) = routes({"eu": "westeurope", "us": "eastus"}[other]).match(event(other))
    assert compiled.leads(transfer)
    assert compiled.leads(foreign)


def test_regions_match_without_case_and_spaces() -> None:
    """Providers write one region in several ways."""
    assert allows_region(("West Europe",), "westeurope")
    assert allows_region(("eu-*",), "EU-CENTRAL-1")
    assert not allows_region(("eu-*",), "europe-west1")
    assert allows_region((), "")
