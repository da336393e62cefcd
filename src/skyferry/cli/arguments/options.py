"""Options shared by several commands."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from skyferry.config.reading.renamed import COMMAND_OPTIONS, UNTIL

ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="The configuration file; by default the embedded one.")
]
Workspace = Annotated[
    Path | None,
    typer.Option("--workspace", metavar="DIR", help="The base of relative paths; skyferry-data by default."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Url = Annotated[
    str, typer.Option("--url", metavar="URL", help="Ask the running service at this URL instead of opening its files.")
]


def warn_renamed_flag(parameter: typer.CallbackParam, value: bool) -> bool:
    """Warn of an old spelling, which is accepted."""
    if value:
        old = parameter.opts[0]
        print(f"warning: {old} is now called {COMMAND_OPTIONS[old]}; {UNTIL}", file=sys.stderr)
    return value


def reject_both_names(old: str, *given: bool) -> None:
    """Raise BadParameter if an option is given by its old and its new name."""
    if all(given):
        raise typer.BadParameter(f"{old} is the old name of {COMMAND_OPTIONS[old]}: give only the new one")


def parse_moment(text: str) -> float | None:
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
        raise typer.BadParameter(f"{text!r} is neither a time nor a duration such as 30m or 2h") from error


def parse_span(text: str) -> float:
    """Return the seconds of a duration such as "5m"."""
    from skyferry.config.units import parse_duration

    try:
        return float(str(parse_duration(text)))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a duration such as 30s, 5m or 1h") from error


Route = Annotated[str, typer.Option("--route", metavar="NAME", help="Only this route.")]
Prefix = Annotated[str, typer.Option("--prefix", metavar="TEXT", help="Only destination keys with this prefix.")]
SourceKey = Annotated[str, typer.Option("--source-key", metavar="KEY", help="Only this source key.")]
Since = Annotated[
    str,
    typer.Option(
        "--since", metavar="WHEN", help="Only updates since a time (RFC 3339), or since 2h for two hours ago."
    ),
]
Until = Annotated[str, typer.Option("--until", metavar="WHEN", help="Only updates before a time.")]
Limit = Annotated[int, typer.Option("--limit", metavar="N", min=1, max=1000, help="The maximum number of items.")]
Cursor = Annotated[str, typer.Option("--cursor", metavar="TEXT", help="Continue after the previous page.")]
