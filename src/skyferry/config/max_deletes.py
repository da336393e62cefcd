"""The limit of deletes that are found at once: `max_deletes` of a route."""

from __future__ import annotations

from typing import Annotated

from skyferry.config.sections.kinds import Text
from skyferry.frozen import dataclass
from skyferry.regex import compile_lazily

NO_LIMIT = "none"
_ABSOLUTE = compile_lazily(r"^\d{1,18}$")
_SHARE = compile_lazily(r"^(\d{1,3}(?:\.\d{1,6})?)\s*%$")


@dataclass(frozen=True, slots=True)
class MaxDeletes:
    """Two limits, which both apply; None = no limit."""

    absolute: int | None = 1000
    share: float | None = 0.25  # of the objects known, 0 to 1; it applies from the second delete on

    @property
    def none(self) -> bool:
        """Nothing is limited."""
        return self.absolute is None and self.share is None

    @classmethod
    def parse(cls, text: str) -> MaxDeletes:
        """Read "1000", "25%", "1000, 25%" or "none". Raises ValueError."""
        if text.strip().lower() == NO_LIMIT:
            return cls(None, None)
        absolute: int | None = None
        share: float | None = None
        for part in map(str.strip, text.split(",")):
            if _ABSOLUTE.match(part) and absolute is None:
                absolute = int(part)
            elif (found := _SHARE.match(part)) and share is None and float(found[1]) <= 100:
                share = float(found[1]) / 100
            else:
                raise ValueError(f"{text!r} is not a number, a share such as 25%, both with a comma between, or none")
        return cls(absolute, share)


MaxDeletesText = Annotated[str, Text(check=MaxDeletes.parse)]
