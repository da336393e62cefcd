"""The JSON Schema of the configuration file, from the settings, for editors: `skyferry schema config`."""

from __future__ import annotations

import re
from typing import Any

from skyferry.config.reading.document import SECRETS
from skyferry.config.reading.faults import Place
from skyferry.config.reading.renamed import ANY, SETTINGS
from skyferry.config.settings import Settings

ID = "https://skyferry.dev/schemas/config.json"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]


def describe_configuration() -> Schema:
    """Return the schema (draft 2020-12) of a configuration file.

    It accepts what the loader accepts: units in durations and sizes, one text for a list of one, numbers for texts, empty
    sections, and old names, marked as deprecated. It refuses unknown settings and secrets. Rules that concern several settings
    are left to `skyferry check-config`.
    """
    schema = Settings.model_json_schema(mode="validation")
    for part in (schema, *schema["$defs"].values()):
        _adapt(part)
    for secret in SECRETS:
        del _section(schema, secret[:-1])["properties"][secret[-1]]
    for place, name in SETTINGS.items():
        properties = _section(schema, place[:-1])["properties"]
        description = f"The old name of `{name}`, accepted until 1.0."
        properties[str(place[-1])] = properties[name] | {"description": description, "deprecated": True}
    return {"$schema": DIALECT, "$id": ID, "title": "Configuration of Skyferry"} | schema


def _adapt(section: Schema) -> None:
    """Rewrite one section of pydantic's schema in place."""
    section.pop("title", None)
    if "properties" not in section:
        return
    section["type"] = ["object", "null"]  # the loader leaves empty values out
    for name, described in section["properties"].items():
        section["properties"][name] = _accept_numbers({k: v for k, v in described.items() if k != "title"})
        if described.get("type") in ("object", "array"):
            section["properties"][name]["type"] = [described["type"], "null"]
        if "description" in described:
            section["properties"][name]["description"] = _one_line(described["description"])
    if "description" in section:
        section["description"] = _one_line(section["description"])


def _accept_numbers(value: Any) -> Any:
    """Accept a number wherever a free text is accepted: YAML reads `prefix: 2026` as one."""
    if isinstance(value, list):
        return [_accept_numbers(item) for item in value]
    if not isinstance(value, dict):
        return value
    adapted = {key: item if key == "default" else _accept_numbers(item) for key, item in value.items()}
    if adapted.get("type") == "string" and not adapted.keys() & {"enum", "const", "pattern", "format"}:
        adapted["type"] = ["string", "number"]
    return adapted


def _section(schema: Schema, place: Place) -> Schema:
    """Return the schema of the section at `place`."""
    section = schema
    for part in place:
        if part == ANY:
            section = _resolve(schema, section.get("additionalProperties") or section["items"])
        else:
            section = _resolve(schema, section["properties"][part])
    return section


def _resolve(schema: Schema, value: Schema) -> Schema:
    if "$ref" not in value:
        return value
    section: Schema = schema["$defs"][value["$ref"].rpartition("/")[2]]
    return section


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
