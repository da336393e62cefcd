"""The JSON Schema of the configuration file, from the settings, for editors: `skyferry schema config`."""

from __future__ import annotations

from skyferry.config.reading.document import SECRETS
from skyferry.config.reading.faults import Place
from skyferry.config.reading.renamed import ANY, SETTINGS
from skyferry.config.sections.kinds import Schema
from skyferry.config.sections.section import describe_section
from skyferry.config.settings import Settings

ID = "https://skyferry.dev/schemas/config.json"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def describe_configuration() -> Schema:
    """Return the schema (draft 2020-12) of a configuration file.

    It accepts what the loader accepts: units in durations and sizes, one text for a list of one, numbers for texts, empty
    sections, and old names, marked as deprecated. It refuses unknown settings and secrets. Rules that concern several settings
    are left to `skyferry check-config`.
    """
    definitions: Schema = {}
    whole = describe_section(Settings, definitions)
    schema: Schema = {"$defs": dict(sorted(definitions.items())), **whole}
    for secret in SECRETS:
        del _section(schema, secret[:-1])["properties"][secret[-1]]
    for place, name in SETTINGS.items():
        properties = _section(schema, place[:-1])["properties"]
        description = f"The old name of `{name}`, accepted until 1.0."
        properties[str(place[-1])] = properties[name] | {"description": description, "deprecated": True}
    return {"$schema": DIALECT, "$id": ID, "title": "Configuration of Skyferry"} | schema


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
