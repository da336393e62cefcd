"""The figures of `make figures`: what counts as a word of prose, a participle, a shared name."""

from pathlib import Path

import pytest
from tools.figures import names, prose
from tools.figures.report import Report
from tools.figures.tree import Source

CODE = '''"""Whether a tale is told.

Runs `who` at first.
"""

total = 1  # somebody counts
raise ValueError(f"{total} of ours stand in the way")
label = "who knows"
'''


@pytest.fixture
def source(tmp_path: Path) -> Source:
    path = tmp_path / "sample.py"
    path.write_text(CODE)
    return Source(path)


def found(source: Source, kind: str, word: str) -> list[int]:
    """Return the lines where a word stands in one kind of prose."""
    passages = prose._passages([source], [])[kind]
    return [int(hit.split()[0].rsplit(":", 1)[1]) for passage in passages for hit in passage.hits(word)]


def test_words_are_found_with_their_line_and_code_is_no_prose(source: Source) -> None:
    assert found(source, "code", "tell") == [1]
    assert found(source, "code", "who") == []
    assert found(source, "code", "nobody") == [6]


def test_messages_are_strings_of_several_words(source: Source) -> None:
    assert found(source, "messages", "ours") == found(source, "messages", "stand in") == [7]
    assert found(source, "messages", "who") == found(source, "messages", "tell") == []


def test_openings(source: Source) -> None:
    (_, docstring), *_ = prose._docstrings(source)
    assert prose._opens_badly(docstring)
    assert not prose._opens_badly("Whatever")


@pytest.mark.parametrize("name", ["told", "judged", "held_by", "parsed_event"])
def test_participles(name: str) -> None:
    assert names.is_participle(name)


@pytest.mark.parametrize("name", ["parse_event", "feed", "seed_store", "embed"])
def test_verbs_are_no_participles(name: str) -> None:
    assert not names.is_participle(name)


def test_a_limit_is_broken_by_more_than_it_allows() -> None:
    report = Report(listing=False)
    report.finding("files", ["a"], limit=1)
    assert not report.broken
    report.finding("folders", ["a", "b"], limit=1)
    assert report.broken == ["folders: 2, at most 1"]
