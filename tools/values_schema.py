"""The schema of the chart's values: `python -m tools.values_schema [FILE]` writes it with the schema of the configuration in it.

So an editor completes the configuration in a file of values, and helm refuses an unknown setting before any pod does.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from skyferry.config.json_schema import describe_configuration

FILE = Path(__file__).parents[1] / "deploy" / "helm" / "skyferry" / "values.schema.json"


def describe_values() -> dict[str, Any]:
    """Return the committed schema with the present schema of the configuration under `config`.

    `config` may be the text of a file as well, from `--set-file`. A token is let through, so that the chart itself refuses it with
    what to do.
    """
    schema: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
    config = describe_configuration()
    schema["$defs"] = config.pop("$defs")
    schema["$defs"]["ServerSettings"]["properties"]["token"] = {}
    properties = {name: config[name] for name in ("description", "properties", "additionalProperties")}
    schema["properties"]["config"] = {"type": ["object", "string"], **properties}
    return schema


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    target.write_text(json.dumps(describe_values(), indent=2, ensure_ascii=False) + "\n", "utf-8")
