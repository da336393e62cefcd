"""Sample keys for filters and templates. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from skyferry.config.settings import FilterSettings
from skyferry.model import Change, ObjectEvent, ObjectRef, Provider
from skyferry.routing.patterns import Template


def example_keys(accepts: FilterSettings, takes: Callable[[str], bool]) -> list[str]:
    """Return a few keys that match the filter, with different folders, names and extensions."""
    shapes = ("a/x.c", "b/x.c", "a/y.c", "a/x.d", "x.c")
    keys = [f"{accepts.prefix}{shape}{accepts.suffix}" for shape in shapes]
    keys += [f"{accepts.prefix}{shape.rpartition('.')[0]}{accepts.suffix}" for shape in shapes]
    keys += [key for pattern in accepts.glob for key in fill_glob(pattern)]
    return list(dict.fromkeys(key for key in keys if takes(key)))


def fill_glob(pattern: str) -> Iterator[str]:
    """Yield keys that a glob may match."""
    for folder, name in (("a", "x"), ("b", "x"), ("a", "y")):
        yield pattern.replace("**", folder).replace("*", name).replace("?", name)


def render_key(template: Template, key: str, bucket: str = "bucket") -> str:
    """Return the destination key, on the first day of 1970."""
    return template.render(ObjectEvent("", Change.CREATED, ObjectRef(Provider.FILE, bucket, key), 0.0))
