"""Where Amazon's regions are, and which one is ours."""

from __future__ import annotations

import pytest

from skyferry.clouds.regions import region_of, sts


@pytest.mark.parametrize(
    ("env", "region"),
    [
        ({"AWS_REGION": "eu-west-3", "AWS_DEFAULT_REGION": "us-west-2"}, "eu-west-3"),
        ({"AWS_REGION": "", "AWS_DEFAULT_REGION": "us-west-2"}, "us-west-2"),
        ({}, ""),
    ],
)
def test_the_environment_names_it_as_it_does_for_amazons_own_tools(env: dict[str, str], region: str) -> None:
    assert region_of(env) == region


def test_token_services_are_in_the_domain_of_the_partition() -> None:
    assert sts("eu-west-3") == "https://sts.eu-west-3.amazonaws.com/"
    assert sts("cn-north-1") == "https://sts.cn-north-1.amazonaws.com.cn/"
    assert sts("eusc-de-east-1") == "https://sts.eusc-de-east-1.amazonaws.eu/"
