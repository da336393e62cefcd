"""docs/reference/observability.md agrees with the code."""

from __future__ import annotations

from pathlib import Path

from skyferry.observe.catalog import Catalog
from skyferry.observe.reference import MEANING, fill_page
from skyferry.records import EVENTS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "observability.md"


def test_the_tables_are_those_of_the_code() -> None:
    """Regenerate: python -m skyferry.observe.reference docs/reference/observability.md"""
    text = PAGE.read_text("utf-8")
    assert fill_page(text) == text


def test_every_event_and_every_metric_is_on_the_page() -> None:
    text = PAGE.read_text("utf-8")
    assert [name for name in EVENTS if f"| `{name}` |" not in text] == []
    assert [m.name for m in Catalog().all() if f"| `{m.name}` |" not in text] == []
    assert set(MEANING) == set(EVENTS)
