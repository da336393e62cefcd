"""Keys and paths map one to one, and no key leaves its bucket."""

from __future__ import annotations

import os.path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyferry.errors import InvalidKey
from skyferry.stores.local.names import PRIVATE, is_private, key_of, names_of, path_of

COMPONENT = st.one_of(
    st.sampled_from(
        ["", ".", "..", "...", "%", "%%", "%.", "%..", "%%..", ".skyferry", "%.skyferry", ".Skyferry", "a"]
    ),
    st.text("%./aA\u017f\u212a", max_size=5),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
)
KEY = st.lists(COMPONENT, min_size=1, max_size=6).map("/".join).filter(bool)


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("a/b.txt", "a/b.txt"),
        ("a//b/", "a/%/b/%"),
        ("/", "%/%"),
        ("/etc/passwd", "%/etc/passwd"),
        ("../../x", "%../%../x"),
        ("./.", "%./%."),
        ("%", "%"),
        ("%%", "%%"),
        ("a/%", "a/%%"),
        ("%%..", "%%%.."),
        ("50%", "50%"),
        ("%41", "%41"),
        ("...", "..."),
        (".skyferry/lock", "%.skyferry/lock"),
        ("x/.SkyFerry", "x/%.SkyFerry"),
        (".s\u212ayferry", "%.s\u212ayferry"),  # the Kelvin sign, which folds to k
        (".skyferry2", ".skyferry2"),
        ("%.skyferry", "%%.skyferry"),
    ],
)
def test_keys_are_escaped(key: str, path: str) -> None:
    """As documented, and back."""
    assert path_of(key) == path
    assert key_of(path) == key


@given(KEY)
def test_a_key_comes_back_from_its_path(key: str) -> None:
    """So two keys never share a path."""
    assert key_of(path_of(key)) == key


@given(st.lists(COMPONENT.filter(bool), min_size=1, max_size=6).map("/".join))
def test_a_path_has_one_key_or_none(path: str) -> None:
    """So two paths never share a key."""
    try:
        key = key_of(path)
    except InvalidKey:
        return
    assert path_of(key) == path


@given(KEY)
def test_no_key_leaves_the_bucket_or_names_a_private_file(key: str) -> None:
    """Whatever it is made of, its path stays below the folder, and not in the private one."""
    names = names_of(key)
    whole = os.path.normpath(os.path.join("/bucket", *names))
    assert whole == "/bucket/" + "/".join(names)
    assert not any(is_private(name) or name.casefold() == PRIVATE for name in names)


@pytest.mark.parametrize(
    "path", [".skyferry", "a/.SKYFERRY/b", "\udcff", "a/nul\0", "x" * 1025, "a//b", "a/../b", "./a"]
)
def test_what_is_no_objects_path_has_no_key(path: str) -> None:
    """Ours, not UTF-8, too long, or no plain path."""
    with pytest.raises(InvalidKey):
        key_of(path)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("", "1 to 1024"),
        ("x" * 1025, "1 to 1024"),
        ("a\0b", "NUL"),
        ("\ud800", "Unicode"),
        ("a/" + "\u20ac" * 86, "255"),
    ],
)
def test_a_key_without_a_path_is_refused_with_its_reason(key: str, said: str) -> None:
    """A message that names the limit."""
    with pytest.raises(InvalidKey, match=said):
        path_of(key)
