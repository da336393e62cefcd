"""`skyferry schema`: print a JSON Schema."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

from skyferry.cli.parameters import Argument


class Subject(StrEnum):
    """The things that have a schema."""

    EVENT = "event"
    CONFIG = "config"


def schema(
    subject: Annotated[
        Subject,
        Argument(
            metavar="event|config", help="`event`: the native event, version 1. `config`: the configuration file."
        ),
    ] = Subject.EVENT,
) -> None:
    """Print the JSON Schema of events, or of the configuration file.

    Editors complete and check a file with the schema. For those that use the YAML language server, run
    `skyferry schema config > skyferry.schema.json` in the folder of the file, and begin the file with
    `# yaml-language-server: $schema=skyferry.schema.json`. `skyferry check-config` finds more: it also checks what concerns
    several settings.
    """
    import orjson

    if subject is Subject.CONFIG:
        from skyferry.config.json_schema import describe_configuration as describe
    else:
        from skyferry.events.native import json_schema as describe
    sys.stdout.write(orjson.dumps(describe(), option=orjson.OPT_INDENT_2).decode() + "\n")
