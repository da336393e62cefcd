"""Options that several commands have."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from skyferry.config.reading.renamed import COMMAND_OPTIONS, UNTIL

ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="The configuration; without one, the embedded default.")
]
Workspace = Annotated[
    Path | None,
    typer.Option("--workspace", metavar="DIR", help="Where relative folders and files are; skyferry-data by default."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Url = Annotated[
    str, typer.Option("--url", metavar="URL", help="Ask the service that runs there instead of opening its files.")
]


def renamed_flag(parameter: typer.CallbackParam, value: bool) -> bool:
    """Warn of an old spelling, which is accepted."""
    if value:
        old = parameter.opts[0]
        print(f"warning: {old} is now called {COMMAND_OPTIONS[old]}; {UNTIL}", file=sys.stderr)
    return value


def not_both(old: str, *given: bool) -> None:
    """Raise BadParameter if an option is given by its old and its new name."""
    if all(given):
        raise typer.BadParameter(f"{old} is the old name of {COMMAND_OPTIONS[old]}: give only the new one")


def moment(text: str) -> float | None:
    """Seconds since 1970 of "2026-11-23T12:00:00Z" (the zone of this machine, if it names none), or of "2h" ago; None for ""."""
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


def span_of(text: str) -> float:
    """Parse a duration such as "5m"; the result is in seconds."""
    from skyferry.config.units import parse_duration

    try:
        return float(str(parse_duration(text)))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a duration such as 30s, 5m or 1h") from error


Route = Annotated[str, typer.Option("--route", metavar="NAME", help="Only of this route.")]
Prefix = Annotated[
    str, typer.Option("--prefix", metavar="TEXT", help="Only where the destination key begins with this.")
]
SourceKey = Annotated[str, typer.Option("--source-key", metavar="KEY", help="Only of this source key.")]
Since = Annotated[
    str,
    typer.Option(
        "--since", metavar="WHEN", help="Only what changed since: a time (RFC 3339), or 2h for two hours ago."
    ),
]
Until = Annotated[str, typer.Option("--until", metavar="WHEN", help="Only what changed before.")]
Limit = Annotated[int, typer.Option("--limit", metavar="N", min=1, max=1000, help="How many at most.")]
Cursor = Annotated[str, typer.Option("--cursor", metavar="TEXT", help="Go on where the last listing ended.")]
