"""Patterns that are compiled in their first use behave like those of `re.compile`."""

from __future__ import annotations

import re

import pytest

from skyferry.regex import compile_lazily


def test_a_pattern_matches_like_a_compiled_one() -> None:
    text, binary = compile_lazily(r"([a-z]+)(\d)?", re.IGNORECASE), compile_lazily(rb"\d+")
    assert [text.fullmatch(each) is not None for each in ("A1", "b", "1")] == [True, True, False]
    assert text.sub("x", "A1-b") == "x-x"
    assert (text.pattern, text.groups) == (r"([a-z]+)(\d)?", 2)
    assert binary.findall(b"1 22") == [b"1", b"22"]


def test_a_method_that_was_called_once_costs_no_more_than_that_of_a_compiled_pattern() -> None:
    pattern = compile_lazily("a+")
    assert "search" not in vars(pattern)
    assert pattern.search("baa") is not None
    assert vars(pattern)["search"] == re.compile("a+").search


def test_an_invalid_pattern_fails_in_its_first_use() -> None:
    pattern = compile_lazily("(")
    with pytest.raises(re.error):
        pattern.match("")
