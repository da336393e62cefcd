"""A cheaper `dataclass` for records.

A frozen dataclass assigns each field through `object.__setattr__`, which takes four times as long as `self.x = x`. The type
checker therefore sees a frozen dataclass, and Python runs a plain one with the same equality and hash.

The `dataclass` of the standard library also compiles up to six methods of each class, which took a fifth of the start of a
command. Here it compiles only `__init__`. Equality and hash compare the fields that one `attrgetter` reads, at the same speed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

T = TypeVar("T")

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(
        *, frozen: bool = False, slots: bool = False, eq: bool = True, kw_only: bool = False
    ) -> Callable[[type[T]], type[T]]:
        """Act as `dataclasses.dataclass`, without freezing."""

        def build(cls: type[T]) -> type[T]:
            made = dataclasses.dataclass(slots=slots, kw_only=kw_only, repr=False, eq=False)(cls)
            methods = {"__repr__": _format} | (_build_comparison(made, frozen) if eq else {})
            for name, method in methods.items():
                if cls.__dict__.get(name) is None:  # the class has none of its own
                    setattr(made, name, method)
            return made

        return build


def _format(record: Any) -> str:
    shown = (f"{field.name}={getattr(record, field.name)!r}" for field in dataclasses.fields(record) if field.repr)
    return f"{type(record).__qualname__}({', '.join(shown)})"


def _build_comparison(cls: type, frozen: bool) -> dict[str, Callable[..., Any] | None]:
    """Return the equality of a class, and its hash, which is None unless the class is frozen."""
    names = [field.name for field in dataclasses.fields(cls) if field.compare]
    values = attrgetter(*names) if names else lambda record: ()

    def is_equal(record: Any, other: Any) -> Any:
        return values(record) == values(other) if type(other) is type(record) else NotImplemented

    def compute_hash(record: Any) -> int:
        return hash(values(record))

    return {"__eq__": is_equal, "__hash__": compute_hash if frozen else None}
