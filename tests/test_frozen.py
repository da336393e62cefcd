"""Records equal, hash and print like those of `dataclasses`."""

from __future__ import annotations

import dataclasses
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field
from typing import Any, ClassVar

import pytest

from skyferry import frozen
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    kind: ClassVar[str] = "named"

    name: str
    tags: list[str] = field(default_factory=list)
    made: str = field(init=False, default="here")


@dataclass(frozen=True, slots=True)
class Large(Place):
    size: int = 0

    def __post_init__(self) -> None:
        assert self.size >= 0, "negative"


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


def test_records_are_made_like_dataclasses() -> None:
    assert (Named(name="a").tags, Named(name="a").made, Named.kind) == ([], "here", "named")
    assert Named(name="a").tags is not Named(name="a").tags
    assert [f.name for f in dataclasses.fields(Named)] == ["name", "tags", "made"]
    with pytest.raises(TypeError, match=r"Named.__init__\(\) missing 1 required keyword-only argument: 'name'"):
        Named()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional"):
        Named("a")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'sise'"):
        Large("a", sise=3)  # type: ignore[call-arg]


def test_a_record_without_slots_keeps_its_defaults_in_the_class() -> None:
    @dataclass(frozen=True)
    class Loose:
        name: str = field(default="a", compare=False)
        tags: list[str] = field(default_factory=list)

    assert (Loose.name, hasattr(Loose, "tags"), Loose().__dict__) == ("a", False, {"name": "a", "tags": []})
    assert Loose("b") == Loose()


@pytest.mark.parametrize("arguments", [((), {}), (("a", "b", "c"), {}), (("a",), {"key": "b"}), (("a",), {"size": 1})])
def test_wrong_arguments_of_the_first_record_are_refused(arguments: tuple[tuple[str, ...], dict[str, Any]]) -> None:
    @dataclass(frozen=True, slots=True)
    class First:
        key: str
        note: str = ""

    with pytest.raises(TypeError, match=r"First.__init__\(\)"):
        First(*arguments[0], **arguments[1])


def test_a_field_that_is_not_an_argument_is_refused_as_one() -> None:
    @dataclass(slots=True)
    class Counted:
        count: int = field(default=0, init=False)

    with pytest.raises(TypeError, match="unexpected keyword argument 'count'"):
        Counted(count=1)  # type: ignore[call-arg]  # that is the point
    assert Counted().count == 0


def test_a_record_may_extend_another() -> None:
    large = Large("a", "n", 3)
    assert (large.key, large.note, large.size, large != Place("a", "n")) == ("a", "n", 3, True)
    assert pickle.loads(pickle.dumps(large)) == large
    assert not hasattr(large, "__dict__")
    with pytest.raises(AssertionError, match="negative"):
        Large("a", size=-1)
    match large:
        case Large(key, note, size):
            assert (key, note, size) == ("a", "n", 3)


def test_a_mutable_default_is_refused() -> None:
    with pytest.raises(ValueError, match="default_factory"):

        @dataclass(frozen=True)
        class Shared:
            names: list[str] = []  # noqa: RUF012 - what the test is about


def test_the_first_records_may_be_made_by_several_threads() -> None:
    @dataclass(frozen=True, slots=True)
    class Fresh:
        number: int

    with ThreadPoolExecutor(8) as threads:
        assert [fresh.number for fresh in threads.map(Fresh, range(100))] == list(range(100))


class Labelled(Place):
    """A subclass that is no record of its own."""


@pytest.mark.parametrize(
    ("record", "changes"),
    [
        (Place("a", "b"), {}),
        (Place("a", "b"), {"key": "c"}),
        (Named(name="a", tags=["x"]), {"name": "b"}),
        (Named(name="a"), {"tags": ["y"]}),
        (Large("a", "b", 3), {"size": 4, "note": "c"}),
        (Labelled("a", "b"), {"key": "c"}),
    ],
)
def test_replace_makes_what_dataclasses_make(record: Place, changes: dict[str, object]) -> None:
    before = dataclasses.asdict(record)

    made = frozen.replace(record, **changes)  # type: ignore[arg-type]  # any field of any record

    assert type(made) is type(record)
    assert dataclasses.asdict(made) == before | changes
    assert dataclasses.asdict(record) == before


def test_replace_refuses_what_is_no_field() -> None:
    with pytest.raises(AttributeError):
        frozen.replace(Place("a"), size=1)  # type: ignore[call-arg]  # that is the point


def test_a_long_series_of_records_is_made_like_the_first() -> None:
    """The first are made without a compiled `__init__`."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Series(Named):
        number: int

        def __post_init__(self) -> None:
            assert self.number >= 0, "negative"

    plain = Series.__init__
    many = [Series(name="a", number=n) for n in range(3 * frozen.FEW)]
    assert Series.__init__ is not plain
    assert [(each.name, each.tags, each.made, each.number) for each in many] == [
        ("a", [], "here", n) for n in range(len(many))
    ]
    assert len({id(each.tags) for each in many}) == len(many)


@pytest.mark.parametrize("compiled", [False, True])
def test_wrong_arguments_are_refused_for_the_first_record_and_for_later_ones(compiled: bool) -> None:
    @dataclass(frozen=True, slots=True)
    class Pair:
        left: int
        right: int
        made: str = field(init=False, default="here")

    for n in range(frozen.FEW + 1 if compiled else 0):
        Pair(n, n)
    make: Any = Pair  # its arguments are wrong on purpose
    with pytest.raises(TypeError, match=r"Pair.__init__\(\) missing 1 required positional argument: 'right'"):
        make(1)
    with pytest.raises(TypeError, match="multiple values for argument 'left'"):
        make(1, 2, left=3)
    with pytest.raises(TypeError, match="takes 3 positional arguments but 4 were given"):
        make(1, 2, "there")
    with pytest.raises(TypeError, match="unexpected keyword argument 'made'"):
        make(1, 2, made="there")
