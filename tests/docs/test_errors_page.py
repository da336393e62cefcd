"""docs/reference/errors.md lists every error with its disposition."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from tests.docs.pages import DOCS

from skyferry.errors import SkyferryError

ROWS = dict(
    re.findall(r"^\| `(\w+)` \| (\w*) ?\|", (DOCS / "reference" / "errors.md").read_text("utf-8"), re.MULTILINE)
)
OF_COMMANDS = {"config_error", "service_unreachable", "not_found"}  # they never settle a transfer


def errors(of: type[SkyferryError] = SkyferryError) -> Iterator[type[SkyferryError]]:
    for error in of.__subclasses__():
        if error.__module__ == SkyferryError.__module__:
            yield error
            yield from errors(error)


@pytest.mark.parametrize("error", list(errors()), ids=lambda error: str(error.kind))
def test_the_page_has_the_disposition_of_each(error: type[SkyferryError]) -> None:
    expected = "outage" if error.outage else str(error.disposition)
    assert ROWS[error.kind] == ("" if error.kind in OF_COMMANDS else expected)
