"""The base of all sections of the configuration."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, WithJsonSchema, field_validator

from skyferry.config.units import DURATION, SIZE, parse_duration, parse_size


def _with_unit(minimum: float, pattern: str, example: str) -> WithJsonSchema:
    """Describe a number, or a text with a unit."""
    number = {"type": "number", "minimum": minimum}
    return WithJsonSchema({"anyOf": [number, {"type": "string", "pattern": pattern}], "examples": [example]})


Seconds = Annotated[
    float, BeforeValidator(parse_duration), Field(ge=0, allow_inf_nan=False), _with_unit(0, DURATION, "30s")
]
Bytes = Annotated[int, BeforeValidator(parse_size), Field(ge=0), _with_unit(0, SIZE, "64MiB")]
Lease = Annotated[
    float, BeforeValidator(parse_duration), Field(ge=0.1, allow_inf_nan=False), _with_unit(0.1, DURATION, "30s")
]
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
Texts = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


class Section(BaseModel):
    """A part of the configuration. Unknown keys are faults, and values are immutable.

    Names and addresses must not contain control characters. No provider allows these, and the texts appear in logs and in
    scripts that administrators run.
    """

    keys: ClassVar[frozenset[str]] = frozenset()  # settings that are parts of object keys, which may have any character

    # A validator takes 2 ms to build, and that of Settings validates all sections.
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True, defer_build=True)

    @field_validator("*")
    @classmethod
    def _printable(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, str) and info.field_name not in cls.keys and CONTROL.search(value):
            raise ValueError("must not contain control characters")
        return value


def default_section(kind: type[Section], description: str) -> Any:
    """Return a field whose default is a section of defaults, which is made without a validator of that section."""
    return Field(default_factory=kind.model_construct, description=description)
