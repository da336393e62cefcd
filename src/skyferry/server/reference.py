"""The generator of docs/reference/openapi.json: `python -m skyferry.server.reference FILE`."""

from __future__ import annotations

import sys
from pathlib import Path

import orjson

from skyferry.server.app import create_routes

_OPTIONS = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE


def render_document() -> bytes:
    """Return the OpenAPI document as indented JSON."""
    return orjson.dumps(create_routes().openapi(), option=_OPTIONS)


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(render_document())
