"""Object keys as paths below a folder, and back. Pure.

A key's components are those of the path, except the few that a filesystem cannot store or that are private: "", ".", ".."
and ".skyferry" (in any case, for filesystems that ignore it) get the prefix "%". So do names that look like one of these
already escaped: "a//b/" is the file a/%/b/%, and "%." is %%.
A key of percent signs alone is its own path, so `%` and a key that begins with a slash exclude each other, as `a` and `a/b` do.
The mapping is one to one, and no key leads out of its folder or into `.skyferry/`. Files and folders that other programs
name `.skyferry`, at any depth, are not objects.
"""

from __future__ import annotations

import re

from skyferry.errors import InvalidKey
from skyferry.regex import compile_lazily

PRIVATE = ".skyferry"  # the private folder inside a bucket
LONGEST_KEY = 1024  # bytes of UTF-8
LONGEST_NAME = 255  # bytes of one path component, on every common filesystem
_RESERVED = r"%*(?:\.{0,2}|\.skyferry)(?:/|\Z)"  # the rest of a component that is escaped
_ESCAPE = compile_lazily(rf"(?:\A|(?<=/))(?={_RESERVED})", re.IGNORECASE)
_UNESCAPE = compile_lazily(rf"(?:\A|(?<=/))%(?={_RESERVED})", re.IGNORECASE)
_PRIVATE = compile_lazily(re.escape(PRIVATE), re.IGNORECASE)


def path_of(key: str) -> str:
    """Return the path of a key, relative to the bucket, separated by slashes. Raises InvalidKey."""
    return "/".join(names_of(key))


def names_of(key: str) -> list[str]:
    """Return the names on the path of a key: the folders, then the file. Raises InvalidKey."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError as error:
        raise InvalidKey("the key is not valid Unicode", where=ascii(key[:80])) from error
    if not 1 <= size <= LONGEST_KEY:
        raise InvalidKey(f"a key has 1 to {LONGEST_KEY} bytes, this one has {size}", where=repr(key[:80]))
    if "\0" in key:
        raise InvalidKey("a key on a filesystem cannot contain NUL", where=repr(key[:80]))
    names = key.split("/") if not _may_escape(key) else [key] if _is_plain(key) else _ESCAPE.sub("%", key).split("/")
    if size >= LONGEST_NAME and max(len(name.encode()) for name in names) > LONGEST_NAME:
        raise InvalidKey(
            f"a part between slashes is longer than {LONGEST_NAME} bytes",
            where=repr(key[:80]),
            hint="shorten it with the route's key template",
        )
    return names


def key_of(path: str) -> str:
    """Return the key of a path relative to the bucket, separated by slashes. Raises InvalidKey if there is none."""
    key = _UNESCAPE.sub("", path) if "%" in path and not _is_plain(path) else path
    if path_of(key) != path:  # also refuses paths that no store accepts as a key
        raise InvalidKey("the file or its folder has a name reserved for Skyferry", where=repr(path[:80]))
    return key


def _is_plain(text: str) -> bool:
    """Return True for percent signs alone. They need no escape, for the empty key does not exist.

    As many as a name can have are left out, for the name of one escaped cannot be longer.
    """
    return len(text) < LONGEST_NAME and not text.strip("%")


def _may_escape(key: str) -> bool:
    """Return False for a key of which no component can be reserved: none begins with % or a dot, and none is empty."""
    around = f"/{key}/"
    return "/%" in around or "/." in around or "//" in around


def is_private(name: str) -> bool:
    """Return True for the name of the private folder of this or another bucket."""
    return name[:1] == "." and _PRIVATE.fullmatch(name) is not None
