"""Ordered filters of keys for commands, compiled once. Pure.

The first rule that matches a key decides. `--exclude` comes first, then `--filter` and `--filter-from` in their order, then
`--include`; with any `--include`, all other keys are excluded. So an exclusion always wins over an inclusion, whatever the
order on the command line.

A pattern is that of rclone: it matches the end of a key, from a slash on (`*.jpg`, `tmp/*.log`), or the whole key if it begins
with `/`. `*` matches any characters within a folder, `?` one of them, `[a-z]` and `[!a-z]` one of a set, `**` any characters at
all, `{a,b}` one of these texts. A final `/` means everything in the folder. `\\` before a character takes away its meaning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from skyferry.frozen import dataclass
from skyferry.regex import compile_lazily
from skyferry.routing.patterns import compile_glob

MOST_GLOBS = 64  # alternatives of one pattern
EVERYTHING = frozenset({"*", "**", "/**"})
_TOKEN = compile_lazily(r"\\.|\[!?\]?[^\]]*\]|.", re.DOTALL)


@dataclass(frozen=True, slots=True)
class FilterRule:
    """A pattern and its consequence."""

    include: bool
    pattern: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class KeyFilter:
    """Rules, of which the first that matches decides."""

    rules: tuple[FilterRule, ...] = ()
    default: bool = True  # for keys that no rule matches

    def takes(self, key: str) -> bool:
        """Return True if the key is included."""
        for rule in self.rules:
            if rule.pattern.fullmatch(key):
                return rule.include
        return self.default


class FolderNames:
    """Exclusions that name a folder without a final slash: they exclude objects of this name, and nothing in the folder."""

    def __init__(self, exclude: Sequence[str]) -> None:
        self.found: list[str] = []  # those with objects in their folder, which were not excluded
        self._left = {text: compile_pattern(f"{text}/") for text in exclude if not text.endswith(("/", "*"))}

    def see(self, key: str) -> None:
        """Look at a key that is included."""
        for text in [text for text, pattern in self._left.items() if pattern.fullmatch(key)]:
            del self._left[text]
            self.found.append(text)


def build_filter(include: Sequence[str], exclude: Sequence[str], rules: Sequence[FilterRule] = ()) -> KeyFilter:
    """Return the filter of a command. Raises ValueError with a message for people.

    With inclusions, an exclusion of everything is implied, so it does not hide them.
    """
    hidden = EVERYTHING if include else frozenset()
    refused = [FilterRule(False, _compile_named("--exclude", text)) for text in exclude if text not in hidden]
    wanted = [FilterRule(True, _compile_named("--include", text)) for text in include]
    return KeyFilter((*refused, *rules, *wanted), default=not include)


def parse_rule(text: str) -> FilterRule:
    """Parse `+ PATTERN` or `- PATTERN`. Raises ValueError."""
    sign, space, pattern = text[:1], text[1:2], text[2:].strip()
    if sign not in ("+", "-") or not space.isspace():
        raise ValueError(f"{text!r} is no rule: write + PATTERN or - PATTERN")
    return FilterRule(sign == "+", compile_pattern(pattern))


def parse_rules(lines: Iterable[str], where: str) -> Iterator[FilterRule]:
    """Parse a file of rules, one per line; blank lines and lines that begin with # or ; are comments.

    Raises ValueError that names the line.
    """
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text and text[0] not in "#;":
            try:
                yield parse_rule(text)
            except ValueError as error:
                raise ValueError(f"{where}, line {number}: {error}") from error


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a pattern for `fullmatch`. A match takes time linear in the key for each alternative. Raises ValueError."""
    if not pattern or pattern == "/":
        raise ValueError("the pattern is empty")
    if "{{" in pattern:
        raise ValueError(f"{pattern!r} has a regular expression in {{{{}}}}: write a glob")
    globs = list(dict.fromkeys(glob for text in _expand_braces(pattern) for glob in _to_globs(text)))
    if len(globs) > MOST_GLOBS:
        raise ValueError(f"{pattern!r} has more than {MOST_GLOBS} alternatives: write several patterns")
    try:
        return re.compile("|".join(f"(?:{compile_glob(glob).pattern})" for glob in globs), re.DOTALL)
    except ValueError as error:
        raise ValueError(f"{pattern!r} {error}") from error


def compile_wildcard(pieces: Sequence[str]) -> re.Pattern[str]:
    """Compile literal texts with a `*` between each two; an empty text between two stars makes them `**`. Raises ValueError."""
    return compile_glob("*".join(re.sub(r"[*?\[]", r"[\g<0>]", piece) for piece in pieces))


def _compile_named(option: str, pattern: str) -> re.Pattern[str]:
    try:
        return compile_pattern(pattern)
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from error


def _expand_braces(pattern: str) -> list[str]:
    """Return the pattern for each choice in its braces."""
    done, group, inside = [""], [""], False
    for part in _TOKEN.findall(pattern):
        if part == "{" and not inside:
            inside, group = True, [""]
        elif part == "{":
            raise ValueError(f"{pattern!r} has braces in braces: write several patterns")
        elif part == "}" and inside:
            inside, done = False, [start + end for start in done for end in group]
            if len(done) > MOST_GLOBS:
                raise ValueError(f"{pattern!r} has more than {MOST_GLOBS} alternatives: write several patterns")
        elif part == "," and inside:
            group.append("")
        else:
            text = _to_literal(part) if part[0] == "\\" else part
            if inside:
                group[-1] += text
            else:
                done = [start + text for start in done]
    if inside:
        raise ValueError(f"{pattern!r} has a {{ without its }}")
    return done


def _to_literal(escaped: str) -> str:
    """Return the glob for an escaped character."""
    character = escaped[1:] or escaped
    return f"[{character}]" if character in "*?[" else character


def _to_globs(text: str) -> list[str]:
    """Return the globs of whole keys that together match what the pattern matches."""
    text = re.sub(r"\*{3,}", "**", text)
    text = text[1:] if text.startswith("/") else f"**/{text}"
    found = [""]
    for part in (f"{text}**" if text.endswith("/") else text).split("/"):
        found = [f"{start}{glob}/" for start in found for glob in _split_stars(part)]
        if len(found) > MOST_GLOBS:
            break
    return [glob[:-1] for glob in found]


def _split_stars(part: str) -> list[str]:
    """Return globs for a part between slashes, in which each `**` stands alone between slashes."""
    if part == "**":
        return [part]
    first, *rest = part.split("**")
    found = [first]
    for text in rest:
        found = [
            glob
            for start in found
            for glob in ((f"{start}*{text}", f"{start}*/**/*{text}") if start else (f"**/*{text}",))
        ]
    return found
