"""A cheaper `dataclass` for records.

A frozen dataclass assigns each field through `object.__setattr__`, which takes four times as long as `self.x = x`. The type
checker therefore sees a frozen dataclass, and Python runs a plain one with the same equality and hash.

The `dataclass` of the standard library also compiles up to six methods of each class, which took a third of the start of a
command. Here only `__init__` is compiled, once a class has some records: a short command makes few of most classes. Until then,
the fields are assigned one by one. Equality and hash compare the fields that one `attrgetter` reads, at the same speed.
`fields`, `replace` and `asdict` work as for other dataclasses. The `replace` of this module does the same at a sixth of the
cost, for what is done for each object.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import MISSING
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

T = TypeVar("T")
FEW = 16  # records of a class that are made without a compiled `__init__`
METHODS = frozenset({"__init__", "__copy__", "__repr__", "__eq__", "__hash__"})  # or the own ones of the class

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
    from dataclasses import replace as replace
else:

    def replace(record: T, /, **changes: Any) -> T:
        """Return a copy with changes. `__post_init__` is not called: a record that has one needs `dataclasses.replace`."""
        made = record.__copy__()
        for name, value in changes.items():
            setattr(made, name, value)
        return made

    def dataclass(
        *, frozen: bool = False, slots: bool = False, eq: bool = True, kw_only: bool = False
    ) -> Callable[[type[T]], type[T]]:
        """Act as `dataclasses.dataclass`, without freezing."""

        def build(cls: type[T]) -> type[T]:
            own, members = _collect_fields(cls, kw_only)
            members |= {
                "__init__": _defer_init(lambda: made),
                "__copy__": _defer_copy(lambda: made),
                "__repr__": _format,
            }
            members |= _build_comparison(members["__dataclass_fields__"], frozen) if eq else {}
            for name in METHODS.intersection(cls.__dict__):
                if cls.__dict__[name] is not None:  # as `__hash__` is of a class that has `__eq__`
                    members.pop(name, None)
            made = _add_slots(cls, own, members) if slots else _add_members(cls, own, members)
            return made

        return build


@dataclasses.dataclass(init=False, repr=False, eq=False)
class _Pattern:
    """A dataclass, whose private marks are those of all others."""

    field: int


_PARAMETERS: Any = _Pattern.__dataclass_params__  # type: ignore[attr-defined]  # private
_FIELD: Any = dataclasses.fields(_Pattern)[0]._field_type  # type: ignore[attr-defined]  # private


def _collect_fields(cls: type, kw_only: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the own fields of a class, and what marks it as a dataclass with these and those of its bases."""
    known: dict[str, Any] = {}
    for base in reversed(cls.__mro__[1:]):
        known |= base.__dict__.get("__dataclass_fields__", {})
    own: dict[str, Any] = {}
    for name, kind in cls.__annotations__.items():
        if str(kind).startswith(("ClassVar", "typing.ClassVar")):
            continue
        default = cls.__dict__.get(name, MISSING)
        found: Any = default if isinstance(default, dataclasses.Field) else dataclasses.field(default=default)
        if found.default.__class__.__hash__ is None:
            raise ValueError(f"{cls.__qualname__}.{name}: a mutable default would be shared; use default_factory")
        found.name, found.type, found._field_type = name, kind, _FIELD
        found.kw_only = kw_only if found.kw_only is MISSING else found.kw_only
        own[name] = found
    known |= own
    positional = tuple([name for name, each in known.items() if not each.kw_only])
    return own, {
        "__dataclass_fields__": known,
        "__dataclass_params__": _PARAMETERS,
        "__match_args__": positional,
    }


def _add_slots(cls: type, own: dict[str, Any], members: dict[str, Any]) -> type:
    """Return the class with slots for its own fields, and with the members: to set them later takes twice as long."""
    replaced = {*own, "__dict__", "__weakref__"}
    kept = {name: value for name, value in cls.__dict__.items() if name not in replaced}
    made = type(cls)(cls.__name__, cls.__bases__, kept | members | {"__slots__": tuple(own)})
    made.__qualname__ = cls.__qualname__
    return made


def _add_members(cls: type, own: dict[str, Any], members: dict[str, Any]) -> type:
    """Set the members and the defaults of the own fields, as dataclasses without slots have them."""
    for name, each in own.items():
        if each.default is not MISSING:
            setattr(cls, name, each.default)
        elif name in cls.__dict__:
            delattr(cls, name)
    for name, member in members.items():
        setattr(cls, name, member)
    return cls


def _defer_init(find_class: Callable[[], Any]) -> Callable[..., None]:
    """Return an `__init__` that makes a few records, then compiles the right one for its class, and puts it in its place."""
    left = FEW
    plan: _Plan | None = None

    def __init__(self: Any, *values: Any, **named: Any) -> None:
        nonlocal left, plan
        left -= 1
        made = find_class()
        if left >= 0:
            plan = plan or _Plan(made)
            if plan.assign(self, values, named):
                return
        made.__init__ = init = _compile_init(made)
        init(self, *values, **named)

    return __init__


class _Plan:
    """Assigns the fields of the first records of a class."""

    def __init__(self, made: Any) -> None:
        fields = dataclasses.fields(made)
        self._count = len(fields)
        self._accepted = {each.name for each in fields if each.init}
        self._positional = [each.name for each in fields if each.init and not each.kw_only]
        self._defaults = {each.name: each.default for each in fields if each.default is not MISSING}
        self._factories = {each.name: each.default_factory for each in fields if each.default_factory is not MISSING}
        self._completes = hasattr(made, "__post_init__")

    def assign(self, record: Any, values: tuple[Any, ...], named: dict[str, Any]) -> bool:
        """Do what the compiled `__init__` does. Return False for wrong arguments, of which it raises the error."""
        given = dict(zip(self._positional, values, strict=False))
        if len(given) < len(values) or not (named.keys() <= self._accepted and named.keys().isdisjoint(given)):
            return False
        assigned = self._defaults | given | named
        for name, make in self._factories.items():
            if name not in assigned:
                assigned[name] = make()
        if len(assigned) < self._count:
            return False
        for name, value in assigned.items():
            setattr(record, name, value)
        if self._completes:
            record.__post_init__()
        return True


def _defer_copy(find_class: Callable[[], Any]) -> Callable[..., Any]:
    """Return a `__copy__` that compiles the right one for its class, and puts it in its place."""

    def __copy__(self: Any) -> Any:
        made = find_class()
        made.__copy__ = copy = _compile_copy(made)
        return copy(self)

    return __copy__


def _compile_copy(made: Any) -> Callable[[Any], Any]:
    scope: dict[str, Any] = {"new": object.__new__}
    lines = [f"copy.{each.name} = self.{each.name}" for each in dataclasses.fields(made)]
    exec("\n ".join(["def __copy__(self):", "copy = new(self.__class__)", *lines, "return copy"]), scope)  # noqa: S102 - as `__init__`
    compiled: Callable[[Any], Any] = scope["__copy__"]
    return compiled


def _compile_init(made: Any) -> Callable[..., None]:
    scope: dict[str, Any] = {"MISSING": MISSING}
    positional: list[str] = []
    named: list[str] = []
    lines: list[str] = []
    for each in dataclasses.fields(made):
        name, value = each.name, each.name
        parameter = name
        if each.default_factory is not MISSING:
            scope[f"make_{name}"] = each.default_factory
            parameter, value = f"{name}=MISSING", f"make_{name}() if {name} is MISSING else {name}"
        elif each.default is not MISSING:
            scope[f"default_{name}"] = each.default
            parameter = f"{name}=default_{name}"
        if each.init:
            (named if each.kw_only else positional).append(parameter)
            lines.append(f"self.{name} = {value}")
        elif parameter != name:
            lines.append(f"self.{name} = " + (f"make_{name}()" if f"make_{name}" in scope else f"default_{name}"))
    if hasattr(made, "__post_init__"):
        lines.append("self.__post_init__()")
    parameters = ", ".join(["self", *positional, *(["*", *named] if named else [])])
    source = f"def __init__({parameters}):\n " + "\n ".join(lines or ["pass"])
    exec(source, scope)  # noqa: S102 - as dataclasses do; the names are those of attributes in the source
    init: Callable[..., None] = scope["__init__"]
    init.__qualname__ = f"{made.__qualname__}.__init__"
    return init


def _format(record: Any) -> str:
    shown = (f"{field.name}={getattr(record, field.name)!r}" for field in dataclasses.fields(record) if field.repr)
    return f"{type(record).__qualname__}({', '.join(shown)})"


def _build_comparison(fields: dict[str, Any], frozen: bool) -> dict[str, Callable[..., Any] | None]:
    """Return the equality of a class, and its hash, which is None unless the class is frozen."""
    names = [name for name, field in fields.items() if field.compare]
    values = attrgetter(*names) if names else lambda record: ()

    def is_equal(record: Any, other: Any) -> Any:
        return values(record) == values(other) if type(other) is type(record) else NotImplemented

    def compute_hash(record: Any) -> int:
        return hash(values(record))

    return {"__eq__": is_equal, "__hash__": compute_hash if frozen else None}
