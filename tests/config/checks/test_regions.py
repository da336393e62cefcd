"""Regions of workers, stores and routes must be known where a route depends on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from skyferry.config.load import Checked, check

EU, US = {"url": "file://eu", "region": "EU-West-1"}, {"url": "file://us", "region": "us-east-1"}
COPY = {"url": "file://copy", "region": "eu-central-1"}
STORES = {"eu": EU, "us": US, "copy": COPY, "nowhere": {"url": "file://nowhere"}}


def checked(tmp_path: Path, *routes: dict[str, Any], region: str = "eu-west-1") -> Checked:
    named = [{"name": f"r{n}", "from": "eu", "to": "copy"} | route for n, route in enumerate(routes)]
    file = tmp_path / "skyferry.yaml"
    file.write_text(yaml.safe_dump({"stores": STORES, "routes": named}))
    return check(file, {"SKYFERRY_REGION": region} if region else {})


@pytest.mark.parametrize(
    "routes",
    [
        [{"run_in": "source"}],
        [{"run_in": "source"}, {"from": "us", "run_in": "source"}],
        [{"allow_regions": ["eu-*"]}],
        [{"allow_regions": ["EU-WEST-1", "EU-Central-1"]}],
        [{}, {"from": "us", "run_in": "source", "allow_regions": ["us-*"], "to": "nowhere"}],  # checked over there
    ],
)
def test_a_configuration_for_several_regions_is_valid(tmp_path: Path, routes: list[dict[str, Any]]) -> None:
    """One configuration serves all regions; SKYFERRY_REGION is the difference."""
    assert checked(tmp_path, *routes).faults == ()


@pytest.mark.parametrize(
    ("routes", "region", "where", "message"),
    [
        ([{"run_in": "source"}], "", "routes[0].run_in", "the region of this worker is not known"),
        ([{"run_in": "source", "from": "nowhere"}], "eu-west-1", "routes[0].run_in", "store nowhere is not known"),
        ([{"run_in": "source"}, {"to": "us"}], "eu-west-1", "routes[1].run_in", "routes from eu differ in run_in"),
        ([{"run_in": "source"}], "eu-west-11", "SKYFERRY_REGION", "no route runs in eu-west-11"),
        ([{"allow_regions": ["eu-*"]}], "", "routes[0].allow_regions", "the region of this worker is not known"),
        ([{"allow_regions": ["eu-*"]}], "us-east-1", "routes[0].allow_regions", "this worker is in us-east-1"),
        ([{"allow_regions": ["eu-*"], "to": "us"}], "eu-west-1", "routes[0].allow_regions", "store us is in us-east-1"),
        (
            [{"allow_regions": ["eu-*"], "to": "nowhere"}],
            "eu-west-1",
            "routes[0].allow_regions",
            "nowhere is not known",
        ),
    ],
)
def test_a_region_that_is_unknown_or_not_allowed_is_a_fault(
    tmp_path: Path, routes: list[dict[str, Any]], region: str, where: str, message: str
) -> None:
    """The fault names the place and what to do."""
    faults = checked(tmp_path, *routes, region=region).faults
    assert [fault.where for fault in faults if message in fault.message] == [where]
    assert all(fault.hint for fault in faults)
