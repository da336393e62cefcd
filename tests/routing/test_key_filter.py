"""Patterns and rules of `skyferry copy`."""

from __future__ import annotations

import time

import pytest

from skyferry.routing.key_filter import build_filter, compile_pattern, compile_wildcard, parse_rules


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("*.jpg", "a.jpg a/b.jpg a//b.jpg .jpg", "a.jpg/x a.png"),
        ("/*.jpg", "a.jpg", "a/b.jpg"),
        ("tmp/", "tmp/a tmp/a/b x/tmp/a", "tmp xtmp/a"),
        ("/tmp/**", "tmp/a tmp/a/b", "x/tmp/a tmp"),
        ("**.jpg", "a.jpg b/a.jpg", "a.jpgx"),
        ("/a**b", "ab axb a/b a/x/b", "xab abx"),
        ("/a**", "a ab a/b a/b/c", "ba"),
        ("a**/c", "a/c ab/c a/b/c ab/x/y/c z/ab/c", "ac"),
        ("/a/**/b", "a/b a/x/b a/x/y/b", "ab"),
        ("*.{jpg,png}", "a.jpg b/a.png", "a.gif"),
        ("a{b,c}d**", "abd acdx abd/x", "ad"),
        (r"\*.txt", "*.txt a/*.txt", "a.txt"),
        (r"x\{1\}", "x{1}", "x1"),
        ("[!a]x", "bx", "ax"),
        ("a?", "ab", "a/"),
        ("*", "a a/b", ""),
        ("**", "a a/b", ""),
    ],
)
def test_a_pattern_matches_the_end_of_a_key(pattern: str, matching: str, other: str) -> None:
    found = compile_pattern(pattern)
    assert [key for key in matching.split() if not found.fullmatch(key)] == []
    assert [key for key in other.split() if found.fullmatch(key)] == []


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("", "is empty"),
        ("/", "is empty"),
        ("{{.*}}", "regular expression"),
        ("{a,{b}}", "braces in braces"),
        ("a{b", "without its }"),
        ("[a", "without its ]"),
        ("{a,b}" * 7, "more than 64"),
    ],
)
def test_an_invalid_pattern_says_why(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compile_pattern(pattern)


@pytest.mark.parametrize("pattern", ["**a**a**a**b", "*a*a*a*a*a*a*b", "**/a*/**/a*/**/a*b", "a**b**c**d"])
def test_no_key_makes_a_match_slow(pattern: str) -> None:
    """A writer of the source chooses the keys. Exponential time would be minutes, quadratic time seconds."""
    found, began = compile_pattern(pattern), time.process_time()
    for key in ("a" * 1000, "a/" * 500):
        assert not found.fullmatch(key)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("include", "exclude", "taken"),
    [
        ([], [], ["a.jpg", "tmp/a.jpg", "b"]),
        (["*.jpg"], [], ["a.jpg", "tmp/a.jpg"]),
        ([], ["tmp/"], ["a.jpg", "b"]),
        (["*.jpg"], ["tmp/"], ["a.jpg"]),
        (["*.jpg"], ["*"], ["a.jpg", "tmp/a.jpg"]),  # as users of `aws s3` write it
        (["*.jpg"], ["**", "tmp/"], ["a.jpg"]),
        ([], ["*"], []),
    ],
)
def test_exclusions_win_over_inclusions(include: list[str], exclude: list[str], taken: list[str]) -> None:
    found = build_filter(include, exclude)
    assert [key for key in ("a.jpg", "tmp/a.jpg", "b") if found.takes(key)] == taken


def test_the_first_rule_of_a_file_decides() -> None:
    rules = list(parse_rules(["# comment", "", "; another", "- /tmp/**", "+ *.jpg", "- *"], "rules"))
    found = build_filter([], [], rules)
    assert [key for key in ("a.jpg", "tmp/a.jpg", "b") if found.takes(key)] == ["a.jpg"]


@pytest.mark.parametrize("line", ["*.jpg", "+*.jpg", "+ ", "- {{x}}"])
def test_a_line_that_is_no_rule_is_named(line: str) -> None:
    with pytest.raises(ValueError, match="rules, line 2"):
        list(parse_rules(["- a", line], "rules"))


def test_a_wildcard_takes_all_other_characters_as_they_are() -> None:
    found = compile_wildcard(["a[1]", "?{b}"])
    assert [key for key in ("a[1]x?{b}", "a1x?{b}", "a[1]x/?{b}", "a[1]?{b}") if found.fullmatch(key)] == [
        "a[1]x?{b}",
        "a[1]?{b}",
    ]
