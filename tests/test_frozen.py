"""Records equal, hash and print like those of `dataclasses`."""

from __future__ import annotations

import dataclasses
from dataclasses import field

import pytest

from skyferry.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    key: str
    note: str = field(default="", compare=False, repr=False)


@dataclass(slots=True)
class Counter:
    value: int = 0


@dataclass(frozen=True, slots=True)
class Nothing:
    pass


@dataclass(frozen=True, slots=True)
class Folded:
    name: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Folded) and self.name.lower() == other.name.lower()

    def __hash__(self) -> int:
        return hash(self.name.lower())

    def __repr__(self) -> str:
        return f"<{self.name}>"


def test_records_equal_and_hash_by_the_fields_that_compare() -> None:
    assert Place("a", "one") == Place("a", "two")
    assert len({Place("a", "one"), Place("a", "two"), Place("b")}) == 2
    assert Nothing() == Nothing()
    assert len({Nothing(), Nothing()}) == 1


def test_records_of_different_classes_are_not_equal() -> None:
    @dataclass(frozen=True, slots=True)
    class Other:
        key: str

    assert Place("a").__eq__(Other("a")) is NotImplemented


def test_mutable_records_have_no_hash() -> None:
    assert Counter(1) == Counter(1)
    with pytest.raises(TypeError, match="unhashable"):
        hash(Counter())


def test_records_print_their_fields() -> None:
    assert repr(Place("a", "hidden")) == "Place(key='a')"
    assert repr(Counter()) == "Counter(value=0)"


def test_methods_of_the_class_win() -> None:
    assert Folded("A") == Folded("a")
    assert len({Folded("A"), Folded("a")}) == 1
    assert repr(Folded("A")) == "<A>"


def test_records_are_dataclasses_with_slots() -> None:
    assert dataclasses.replace(Place("a", "n"), key="b").note == "n"
    assert dataclasses.asdict(Place("a")) == {"key": "a", "note": ""}
    assert not hasattr(Place("a"), "__dict__")
