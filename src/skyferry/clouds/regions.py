"""Partitions, domains and endpoints of Amazon's regions. Pure."""

from __future__ import annotations

from collections.abc import Mapping

PARTITIONS = {  # prefix of a region -> its partition and the domain of its services (`partitions.json` of botocore)
    "cn-": ("aws-cn", "amazonaws.com.cn"),
    "us-gov-": ("aws-us-gov", "amazonaws.com"),
    "eusc-": ("aws-eusc", "amazonaws.eu"),
    "us-iso-": ("aws-iso", "c2s.ic.gov"),
    "us-isob-": ("aws-iso-b", "sc2s.sgov.gov"),
    "us-isof-": ("aws-iso-f", "csp.hci.ic.gov"),
    "eu-isoe-": ("aws-iso-e", "cloud.adc-e.uk"),
}


def region_of(env: Mapping[str, str]) -> str:
    """Return the region from the environment, as Amazon's own tools read it; "" if it names none."""
    return env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION", "")


def partition(region: str) -> tuple[str, str]:
    """Return the partition of a region, as in ARNs, and the domain of its services."""
    return next((found for start, found in PARTITIONS.items() if region.startswith(start)), ("aws", "amazonaws.com"))


def endpoint(service: str, region: str) -> str:
    """Return Amazon's endpoint of a service in a region, without a final slash."""
    return f"https://{service}.{region}.{partition(region)[1]}"


def sts(region: str) -> str:
    """Return the endpoint of AWS STS in a region."""
    return f"{endpoint('sts', region)}/"
