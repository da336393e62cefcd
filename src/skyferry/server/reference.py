"""docs/reference/openapi.json, from the code: `python -m skyferry.server.reference FILE`."""

from __future__ import annotations

import sys
from pathlib import Path

import orjson

from skyferry.server.app import routes

_OPTIONS = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE


def document() -> bytes:
    """The OpenAPI document, for people to diff."""
    return orjson.dumps(routes().openapi(), option=_OPTIONS)


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(document())
