"""The region and the endpoint that the profile of Amazon's tools names: `~/.aws/config`, `AWS_PROFILE`, `AWS_ENDPOINT_URL`.

https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from configparser import Error as UnreadableConfig
from configparser import RawConfigParser
from pathlib import Path

from skyferry.clouds.regions import region_of
from skyferry.errors import ConfigError
from skyferry.frozen import dataclass


@dataclass(frozen=True, slots=True)
class AwsProfile:
    """The settings of the current profile. "" = not set."""

    region: str = ""
    endpoint: str = ""  # of S3


def read_profile(env: Mapping[str, str]) -> AwsProfile:
    """Return the settings of S3 from the environment, otherwise from the profile. Raises ConfigError. Blocks."""
    profile, services = _read_sections(env)
    ignored = env.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") or profile.get("ignore_configured_endpoint_urls", "")
    named = (
        env.get("AWS_ENDPOINT_URL_S3"),
        env.get("AWS_ENDPOINT_URL"),
        _find_nested(services.get("s3", ""), "endpoint_url"),
        profile.get("endpoint_url"),
    )
    endpoint = "" if ignored.lower() == "true" else next(filter(None, named), "")
    return AwsProfile(region_of(env) or profile.get("region", ""), endpoint)


def _read_sections(env: Mapping[str, str]) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return the section of the profile, and the section of its services."""
    file = Path(env.get("AWS_CONFIG_FILE") or f"{env.get('HOME', '')}/.aws/config").expanduser()
    name = env.get("AWS_PROFILE") or env.get("AWS_DEFAULT_PROFILE") or "default"
    parser = RawConfigParser(strict=False, interpolation=None)
    try:
        parser.read(file, "utf-8")
    except (UnreadableConfig, UnicodeDecodeError):  # its message quotes the file
        raise ConfigError(
            "the configuration of AWS cannot be parsed", where=str(file), hint="correct the file"
        ) from None
    wanted = ("default", "profile default") if name == "default" else (f"profile {name}",)
    profile: Mapping[str, str] = next((parser[section] for section in wanted if section in parser), {})
    services = f"services {profile.get('services', '')}"
    return profile, parser[services] if parser.has_section(services) else {}


def _find_nested(text: str, name: str) -> str:
    """Return a setting of a nested section, which the parser returns as text."""
    found = re.search(rf"^\s*{name}\s*=\s*(\S+)", text, re.MULTILINE)
    return found[1] if found else ""
