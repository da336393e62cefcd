"""`dataclass` for the nouns that are made many times for each event.

A frozen dataclass assigns every field through `object.__setattr__`, which takes four times as long as `self.x = x`. So
the type checker sees a frozen one, and Python runs a plain one with the same equality and hash.
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
        """As `dataclasses.dataclass`."""
        return dataclasses.dataclass(slots=slots, unsafe_hash=frozen)
