"""A failure of the store suite says what was expected and what came: it is read by an operator, without the code."""

from __future__ import annotations

from typing import Any

import pytest

from skyferry.errors import InvalidKey, ObjectNotFound, StoreUnavailable
from skyferry.model import Attributes, Checksums
from skyferry.ports import ObjectData, Precondition
from skyferry.stores.memory import MemoryStore
from skyferry.testing.clock import ManualClock
from skyferry.testing.store_cases import Place, describe, run_cases
from skyferry.testing.store_cases.place import expect, expect_agreement, expect_error


class Careless(MemoryStore):
    """Ignores preconditions, and reads other bytes than were written."""

    async def write(self, key: str, data: bytes, attributes: Any, checksums: Any, when: Any = None) -> Any:
        return await super().write(key, data, Attributes(), checksums, Precondition())

    async def read(self, key: str, start: int, length: int, *, version: str = "") -> ObjectData:
        got = await super().read(key, start, length, version=version)
        return ObjectData(got.meta, got.data[::-1])


async def test_no_failure_of_a_careless_store_is_without_a_word() -> None:
    async def place(case: str) -> Place:
        return Place(Careless(case, ManualClock()), other=Careless(case, ManualClock()))

    failed = {result.name: result.detail async for result in run_cases(place) if result.outcome == "failed"}
    assert len(failed) > 10
    assert failed["test_create_only"] == "expected PreconditionFailed, but the store accepted it"
    for detail in failed.values():
        assert "AssertionError" not in detail
        assert "expected" in detail


def test_two_values_that_differ_are_both_shown() -> None:
    with pytest.raises(AssertionError, match="'k': expected 'two', but 'one' came"):
        expect("one", "two", "k")
    with pytest.raises(AssertionError, match=r"expected 100,000 bytes that begin with b'aaa.*, but b'a' came"):
        expect(b"a", b"a" * 100_000)
    one, two = Attributes(content_type="a", tags={"x": "1"}), Attributes(content_type="b", tags={"x": "1"})
    with pytest.raises(AssertionError, match=r"^content_type: expected 'b', but 'a' came$"):
        expect(one, two)
    with pytest.raises(AssertionError, match="expected the md5 02, but 01 came"):
        expect_agreement(Checksums(md5="01"), Checksums(md5="02"))


def test_another_error_than_the_expected_one_is_named() -> None:
    said = "'a/b': expected InvalidKey, but ObjectNotFound came: s 'a/b'"
    with pytest.raises(AssertionError, match=said), expect_error(InvalidKey, what="a/b"):
        raise ObjectNotFound(where="s 'a/b'")


def test_errors_and_bare_assertions_are_described() -> None:
    assert describe(StoreUnavailable("down", where="s")) == "expected no error, but StoreUnavailable came: s: down"
    assert describe(AssertionError()).startswith("expected: ")
    both = ExceptionGroup("two", [AssertionError("one"), AssertionError("two"), AssertionError("one")])
    assert describe(both) == "one; two"
