"""`skyferry schema`: print the JSON Schema of events."""

from __future__ import annotations

import sys


def schema() -> None:
    """Print the JSON Schema of the native event, version 1."""
    import orjson

    from skyferry.events.native import json_schema

    sys.stdout.write(orjson.dumps(json_schema(), option=orjson.OPT_INDENT_2).decode() + "\n")
