"""What every part of the configuration is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from skyferry.config.units import duration, size

Seconds = Annotated[float, BeforeValidator(duration), Field(ge=0, allow_inf_nan=False)]
Bytes = Annotated[int, BeforeValidator(size), Field(ge=0)]
Lease = Annotated[float, BeforeValidator(duration), Field(ge=0.1, allow_inf_nan=False)]
Texts = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]


class Section(BaseModel):
    """A part of the configuration: unknown keys are faults, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)
