"""A faster `dataclass` for records that are created many times per event.

A frozen dataclass assigns each field through `object.__setattr__`, which takes four times as long as `self.x = x`. The type
checker therefore sees a frozen dataclass, and Python runs a plain one with the same equality and hash.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

T = TypeVar("T")

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(*, frozen: bool, slots: bool) -> Callable[[type[T]], type[T]]:
        """Act as `dataclasses.dataclass`, without freezing."""
        return dataclasses.dataclass(slots=slots, unsafe_hash=frozen)
