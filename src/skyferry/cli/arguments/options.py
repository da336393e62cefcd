"""Options shared by several commands."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click

from skyferry.cli.parameters import Option
from skyferry.config.reading.renamed import COMMAND_OPTIONS, UNTIL
from skyferry.frozen import dataclass

if TYPE_CHECKING:
    from skyferry.config.settings import LimitSettings, Settings

ConfigFile = Annotated[
    Path | None,
    Option(
        "--config",
        metavar="FILE",
        help="The configuration file; by default SKYFERRY_CONFIG, skyferry.yaml in this folder, or the embedded one.",
    ),
]
Workspace = Annotated[
    Path | None,
    Option("--workspace", metavar="DIR", help="The base of relative paths; skyferry-data by default."),
]
Json = Annotated[bool, Option("--json", help="Print JSON.")]
Url = Annotated[
    str, Option("--url", metavar="URL", help="Ask the running service at this URL instead of opening its files.")
]
Processes = Annotated[
    str,
    Option(
        "--processes",
        metavar="N",
        help="Divide the work and the limits among N processes; auto = one per core, as far as the limits suffice.",
    ),
]
CopyProcesses = Annotated[
    str,
    Option(
        "--processes",
        metavar="N",
        help="Divide the work and the limits among N processes; auto = begin with one, and use idle cores once that pays.",
    ),
]
Limit = Annotated[int, Option("--limit", metavar="N", min=1, max=1000, help="The maximum number of items.")]
Cursor = Annotated[str, Option("--cursor", metavar="TEXT", help="Continue after the previous page.")]


@dataclass(frozen=True, slots=True)
class ConfigOptions:
    """The options that name the configuration."""

    config: ConfigFile = None
    workspace: Workspace = None

    def load(self) -> Settings:
        """Load the settings. Raises ConfigFaults with all faults."""
        from skyferry.cli import resources

        return resources.load_settings(self.config, self.workspace)


@dataclass(frozen=True, slots=True)
class PageOptions:
    """The options that select a page of a list."""

    limit: Limit = 20
    cursor: Cursor = ""


def warn_renamed_flag(context: click.Context, parameter: click.Parameter, value: bool) -> bool:
    """Warn of an old spelling, which is accepted."""
    if value:
        old = parameter.opts[0]
        print(f"warning: {old} is now called {COMMAND_OPTIONS[old]}; {UNTIL}", file=sys.stderr)
    return value


def reject_both_names(old: str, *given: bool) -> None:
    """Raise BadParameter if an option is given by its old and its new name."""
    if all(given):
        raise click.BadParameter(f"{old} is the old name of {COMMAND_OPTIONS[old]}: give only the new one")


def parse_processes(text: str, limits: LimitSettings) -> int:
    """Return the number of processes that share `limits`, and warn if there are more than cores. Raises ConfigError."""
    if text == "1":
        return 1
    from skyferry.processes import counts

    cores = counts.count_cores()
    count = counts.parse_processes(text, cores, limits)
    if warning := counts.warn_of_cores(count, cores):
        print(f"warning: {warning}", file=sys.stderr)
    return count


def parse_moment(text: str, option: str) -> float | None:
    """Return seconds since 1970 for "2026-11-23T12:00:00Z" (in the local zone if it names none) or for "2h" ago; None for ""."""
    import time
    from datetime import datetime

    from skyferry.config.units import parse_duration

    if not text:
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        pass
    try:
        return time.time() - float(str(parse_duration(text)))
    except ValueError as error:
        raise click.BadParameter(f"{option}: {text!r} is neither a time nor a duration such as 30m or 2h") from error


def parse_span(text: str, option: str) -> float:
    """Return the seconds of a duration such as "5m"."""
    from skyferry.config.units import parse_duration

    try:
        return float(str(parse_duration(text)))
    except ValueError as error:
        raise click.BadParameter(f"{option}: {text!r} is not a duration such as 30s, 5m or 1h") from error
