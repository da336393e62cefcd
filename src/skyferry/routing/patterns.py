"""Globs and key templates, compiled once. Pure.

A glob matches a whole key: `*` any characters within a folder, `?` one of them, `[a-z]` and `[!a-z]` one of a set,
`**` any number of folders (it stands alone between slashes: `**/*.csv`, `logs/**`).

A template renders a destination key from an event:

| placeholder | value for `a/b/photo.tar.gz` in bucket `in` |
|---|---|
| `{key}` | `a/b/photo.tar.gz` |
| `{dir}` | `a/b`; with the slash after it, nothing for a key without a folder |
| `{name}` | `photo.tar.gz` |
| `{stem}` | `photo.tar` |
| `{ext}` | `.gz`, with its dot, so that `{stem}{ext}` is `{name}` |
| `{bucket}` | `in` |
| `{yyyy}` `{mm}` `{dd}` | the day the object was made, UTC; where it is gone, the day of the event |

`{{` and `}}` are braces.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from string import Formatter

from skyferry.frozen import dataclass
from skyferry.model import ObjectEvent


def compile_glob(pattern: str) -> re.Pattern[str]:
    """Compile a glob for `fullmatch`. Raises ValueError with a message for people.

    The time of a match is bounded by the length of the key times that of the pattern, for every writer of a source chooses
    keys. Where a star meets the first place at which what follows it fits, no later place can do better, up to the
    next star; so each such piece is an atomic group, which is never entered again.
    """
    if not pattern:
        raise ValueError("is empty")
    *folders, last = re.sub(r"(?:(?<=/)|^)(?:\*\*/)+", "**/", pattern).split("/")
    runs = [""]  # of folders, between one ** and the next
    for part in folders:
        if part == "**":
            runs.append("")
        else:
            runs[-1] += _folder(part) + "/"
    first, *rest = runs
    text = first + "".join(f"(?>(?:[^/]*+/)*?{run})" for run in rest[: None if last == "**" else -1])
    text += ".*" if last == "**" else "".join(f"(?:[^/]*+/)*{run}" for run in rest[-1:]) + _folder(last)
    try:
        return re.compile(text, re.DOTALL)
    except re.error as error:
        raise ValueError(f"is not valid: {error.msg}") from error


def _folder(part: str) -> str:
    """Return the expression for one part between slashes."""
    if "**" in part:
        raise ValueError("has ** next to other characters (write **/*.csv, not **.csv)")
    first, *rest = [_literal(chunk) for chunk in _chunks(part)]
    middle = "".join(f"(?>[^/]*?{chunk})" for chunk in rest[:-1])
    return first + middle + "".join(f"[^/]*{chunk}" for chunk in rest[-1:])


def _chunks(part: str) -> list[str]:
    """Split a part at its stars, except those inside a set."""
    return re.sub(r"(\[!?\]?[^\]]*\])|\*", lambda m: m[1] or "\0", part).split("\0")


def _literal(chunk: str) -> str:
    return "".join(_one(text) for text in re.findall(r"\[!?\]?[^\]]*\]|.", chunk, re.DOTALL))


def _one(text: str) -> str:
    """Return the expression for one character."""
    if text == "?":
        return "[^/]"
    if text == "[":
        raise ValueError("has a [ without its ]")
    if len(text) == 1:
        return re.escape(text)
    negated = text[1] == "!"
    members = re.sub(r"([\\\[\]^&~|])", r"\\\1", text[2 if negated else 1 : -1])
    return f"(?!/)[{'^' if negated else ''}{members}]"


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled key template; `dated` = it changes with the day of the event."""

    text: str
    dated: bool
    _parts: tuple[str | Callable[[ObjectEvent], str], ...]

    @classmethod
    def compile(cls, text: str) -> Template:
        """Compile a template. Raises ValueError with a message for people."""
        parts: list[str | Callable[[ObjectEvent], str]] = []
        names: list[str] = []
        for literal, field, spec, conversion in Formatter().parse(text):
            if literal and names and names[-1] == "dir" and parts[-1] is _dir and literal.startswith("/"):
                parts[-1], literal = _dir_slash, literal[1:]
            if literal:
                parts.append(literal)
            if field is not None:
                if spec or conversion or field not in PLACEHOLDERS:
                    raise ValueError(f"has an unknown placeholder {{{field}}}")
                parts.append(PLACEHOLDERS[field])
                names.append(field)
        return cls(text, not {"yyyy", "mm", "dd"}.isdisjoint(names), tuple(parts))

    def render(self, event: ObjectEvent) -> str:
        """Return the destination key. The store decides whether it is valid."""
        if self.text == "{key}":
            return event.source.key
        return "".join([part if isinstance(part, str) else part(event) for part in self._parts])

    def start(self, bucket: str, prefix: str) -> str:
        """Return the common beginning of all destination keys for source keys with this bucket and prefix."""
        found = ""
        for part in self._parts:
            if isinstance(part, str):
                found += part
            elif part is PLACEHOLDERS["bucket"]:
                found += bucket
            elif part is PLACEHOLDERS["key"]:
                return found + prefix
            else:
                return found + (prefix.rpartition("/")[0] if part in (_dir, _dir_slash) else "")
        return found


def _dir(event: ObjectEvent) -> str:
    return event.source.key.rpartition("/")[0]


def _dir_slash(event: ObjectEvent) -> str:
    folder, slash, _ = event.source.key.rpartition("/")
    return folder + slash


def _name(event: ObjectEvent) -> str:
    return event.source.key.rpartition("/")[2]


def _stem(event: ObjectEvent) -> str:
    return _name(event).removesuffix(_ext(event))


def _ext(event: ObjectEvent) -> str:
    stem, dot, ext = _name(event).rpartition(".")
    return dot + ext if stem else ""  # .profile is a name, not an extension


def _day(form: str) -> Callable[[ObjectEvent], str]:
    return lambda event: time.strftime(
        form, time.gmtime(event.occurred_at if event.created_at is None else event.created_at)
    )


PLACEHOLDERS: dict[str, Callable[[ObjectEvent], str]] = {
    "key": lambda event: event.source.key,
    "dir": _dir,
    "name": _name,
    "stem": _stem,
    "ext": _ext,
    "bucket": lambda event: event.source.bucket,
    "yyyy": _day("%Y"),
    "mm": _day("%m"),
    "dd": _day("%d"),
}
