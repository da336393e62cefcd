"""Links between the pages, the README and the other files lead somewhere, on a forge as on the site."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from tests.docs.pages import DOCS

ROOT = DOCS.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
FENCE = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of a page, as forges make them."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    wrong = []
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text("utf-8"))):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if "://" not in link and not (target.exists() and (not anchor or anchor in anchors(target))):
            wrong.append(link)
    assert wrong == []


@pytest.mark.parametrize("page", PAGES[3:], ids=name)
def test_lists_are_lists_in_markdown_of_every_kind(page: Path) -> None:
    """Python-Markdown wants a blank line before a list, and four spaces before what belongs to an item."""
    lines = FENCE.sub("", page.read_text("utf-8")).splitlines()
    item = re.compile(r" *([-*]|\d+\.) ")
    wrong = [
        line
        for before, line in pairwise(lines)
        if item.match(line) and before and not item.match(before) and not before.startswith(" ")
    ]
    assert wrong == []
    assert re.findall(r"^ {1,3}```.*", page.read_text("utf-8"), re.MULTILINE) == []


def test_every_decision_is_in_the_index() -> None:
    index = (DOCS / "decisions" / "index.md").read_text("utf-8")
    for page in sorted((DOCS / "decisions").glob("0*.md")):
        number, _, title = page.read_text("utf-8").splitlines()[0].removeprefix("# ").partition(": ")
        assert f"| [{number}]({page.name}) | {title} |" in index


def test_pages_that_the_source_names_exist() -> None:
    """Hints of errors, and docstrings."""
    named = {
        found
        for folder in ("src", "tests", "bench")
        for file in (ROOT / folder).rglob("*.py")
        for found in re.findall(r"(?<![\w/.])docs/[\w/-]+\.(?:md|json)", file.read_text("utf-8"))
    }
    assert len(named) > 10
    assert sorted(page for page in named if not (ROOT / page).exists() and page != "docs/PAGE") == []


def test_paths_of_where_things_are_exist() -> None:
    page = (DOCS / "contributing" / "where-things-are.md").read_text("utf-8")
    paths = set(re.findall(r"`((?:src|tests|bench|tools|docs|CONTRIBUTING)[\w/.-]*)`", page))
    assert len(paths) > 60
    assert sorted(path for path in paths if not (ROOT / path).exists()) == []
    folders = {f"src/skyferry/{entry.parent.name}/" for entry in (ROOT / "src" / "skyferry").glob("*/__init__.py")}
    assert sorted(folders - paths) == []
