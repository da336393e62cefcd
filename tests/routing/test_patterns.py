"""Globs and key templates."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyferry.model import Change, ObjectEvent, ObjectRef, Provider
from skyferry.routing.patterns import Template, compile_glob

NEW_YEAR = 1767225599.0  # 2025-12-31T23:59:59Z


def event(key: str, at: float = NEW_YEAR) -> ObjectEvent:
    return ObjectEvent("e", Change.CREATED, ObjectRef(Provider.FILE, "in", key), at)


@pytest.mark.parametrize(
    ("pattern", "key", "matches"),
    [
        ("*.csv", "a.csv", True),
        ("*.csv", "d/a.csv", False),
        ("**/*.csv", "a.csv", True),
        ("**/*.csv", "d/e/a.csv", True),
        ("logs/**", "logs/2025/a", True),
        ("logs/**", "logs", False),
        ("a/**/z", "a/z", True),
        ("a/**/z", "a/b//c/z", True),
        ("a/**/**/z", "a/b/z", True),
        ("**", "any/thing\nat all", True),
        ("?.txt", "é.txt", True),
        ("?.txt", "/.txt", False),
        ("[a-c]*", "b/x", False),
        ("[a-c]*", "bx", True),
        ("[!a-c]*", "bx", False),
        ("a[!b]c", "a/c", False),
        ("a[]]c", "a]c", True),
        ("a[*]c", "a*c", True),
        ("a[*]c", "abc", False),
        ("a[^]c", "a^c", True),
        ("*a*b*c", "xaxbxcxc", True),
        ("*a*b*c", "xaxcxb", False),
        ("*a/b", "aa/b", True),
        ("a.c", "abc", False),
        ("(a|b)", "a", False),
    ],
)
def test_a_glob_matches_whole_keys(pattern: str, key: str, matches: bool) -> None:
    assert (compile_glob(pattern).fullmatch(key) is not None) is matches


def plainly(pattern: str, key: str) -> bool:
    """The definition of a glob, without a thought for speed."""
    if pattern.startswith("**/"):
        rest = pattern[3:]
        return plainly(rest, key) or any(plainly(rest, key[i + 1 :]) for i, c in enumerate(key) if c == "/")
    if pattern == "**":
        return True
    if pattern.startswith("*"):
        return plainly(pattern[1:], key) or (key[:1] not in ("", "/") and plainly(pattern, key[1:]))
    if not pattern or not key:
        return pattern == key
    fits = key[0] != "/" if pattern[0] == "?" else key[0] == pattern[0]
    return fits and plainly(pattern[1:], key[1:])


@given(
    st.lists(st.sampled_from(["**", "*", "*a*", "a?", "a*b*a", "*ab", "", "?*"]), min_size=1, max_size=6),
    st.text("ab/", max_size=12),
)
def test_a_glob_is_what_its_definition_says(folders: list[str], key: str) -> None:
    pattern = "/".join(folders)
    if pattern:
        assert (compile_glob(pattern).fullmatch(key) is not None) is plainly(pattern, key)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("", "is empty"), ("**.csv", r"write \*\*/\*.csv"), ("a[b", "without its"), ("[z-a]", "not valid")],
)
def test_a_glob_that_cannot_work_says_why(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compile_glob(pattern)


@pytest.mark.parametrize(
    ("pattern", "key"),
    [
        ("**/" + "*a" * 30 + "b", "a" * 1024),
        ("**/a/" * 12 + "*.gz", "a/" * 512),
        ("**/*/" * 12 + "*.gz", "a/" * 512),
        ("**/*a*/" * 12 + "*b", "aa/" * 341),
        ("**/a/" * 12 + "**/*.gz", "a/" * 512),
    ],
)
def test_a_hostile_key_costs_a_glob_no_exponential_time(pattern: str, key: str) -> None:
    """Each takes microseconds; by backtracking from one star into another, ages."""
    assert compile_glob(pattern).fullmatch(key) is None


@pytest.mark.parametrize(
    ("template", "key", "rendered"),
    [
        ("{key}", "a/b.txt", "a/b.txt"),
        ("{dir}|{name}|{stem}|{ext}", "a/b/photo.tar.gz", "a/b|photo.tar.gz|photo.tar|.gz"),
        ("{dir}/{stem}{ext}", "top.txt", "top.txt"),
        ("{dir}/{stem}{ext}", "/top", "/top"),
        ("x/{dir}/{name}", "a//", "x/a//"),
        ("{stem}|{ext}", ".profile", ".profile|"),
        ("{stem}|{ext}", "d.d/plain", "plain|"),
        ("{bucket}/{yyyy}/{mm}/{dd}/{key}", "k", "in/2025/12/31/k"),
        ("{{{key}}}", "k", "{k}"),
        ("latest", "k", "latest"),
    ],
)
def test_a_template_renders_the_destination_key(template: str, key: str, rendered: str) -> None:
    assert Template.compile(template).render(event(key)) == rendered


def test_stem_and_ext_together_are_the_name() -> None:
    both, name = Template.compile("{stem}{ext}"), Template.compile("{name}")
    for key in ("a", "a.b", ".a", ".a.b", "a.", "..", "x/.", "x/..a", ""):
        assert both.render(event(key)) == name.render(event(key))


@pytest.mark.parametrize("template", ["{nope}", "{}", "{key!r}", "{key:>9}", "{key", "key}", "{key.name}"])
def test_a_template_that_cannot_be_rendered_is_refused_at_once(template: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Template.compile(template)


def test_a_template_knows_whether_the_day_changes_it() -> None:
    assert Template.compile("{yyyy}/{key}").dated
    assert not Template.compile("{dir}/{name}").dated


def test_the_day_is_that_of_the_object_if_the_event_has_it() -> None:
    """A second event of one version, on another day, names the same key."""
    source = ObjectRef(Provider.GCP_GCS, "in", "k")
    days = [
        ObjectEvent("e", Change.CREATED, source, at, created_at=1_767_139_200.0) for at in (1_767_139_200.0, 1_795e6)
    ]
    assert {Template.compile("{yyyy}/{mm}/{dd}/{key}").render(event) for event in days} == {"2025/12/31/k"}
