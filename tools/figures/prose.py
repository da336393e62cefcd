"""Count words that make prose read as if translated, per 10,000 words, next to the rates of three peers.

The peers' rates were measured by this module itself, in November 2026: procrastinate 3.9.0 (f099a753), stamina 26.1.0 (87ccfa4),
taskiq 0.12.4 (ae2b788), all three together:

    python -m tools.figures.prose procrastinate/procrastinate stamina/src taskiq/taskiq      # code, messages
    python -m tools.figures.prose procrastinate/docs stamina/docs taskiq/docs */README.md   # pages
"""

import ast
import io
import math
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.figures.report import Report
from tools.figures.tree import Place, Source, Tree

WORDS = {
    "tell": r"tells?|told",
    "who": r"who|whoever|whom",
    "nobody": r"nobody|somebody|anybody",
    "ours": r"ours",
    "besides": r"besides",
    "stand in": r"(?:stands?|stood|standing) (?:in|for)",
}
KINDS = ("code", "messages", "pages")
PEERS = {  # per 10,000 words of each of KINDS
    "tell": (0.5, 0.0, 0.5),
    "who": (0.5, 0.0, 1.9),
    "nobody": (0.0, 0.0, 0.0),
    "ours": (1.0, 0.0, 0.0),
    "besides": (0.0, 0.0, 0.0),
    "stand in": (0.0, 0.0, 0.0),
}
FLOOR = 2.0  # per 10,000: allowed even where peers have fewer than half of it
MESSAGE = 4  # words: shorter strings are identifiers and keys
OPENINGS = ("What", "Whether", "Who", "Where", "How")

_WORD = re.compile(r"[A-Za-z][A-Za-z'’-]*")
_WANTED = {name: re.compile(rf"\b(?:{pattern})\b", re.IGNORECASE) for name, pattern in WORDS.items()}
_CODE = re.compile(r"``[^`]*``|`[^`\n]*`|https?://\S+|\b(?:noqa|type: ignore)\S*")
_FENCE = re.compile(r"^(\s*)(```|~~~).*?^\1\2", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Passage:
    """One docstring, comment, message or page, with code in it blanked."""

    place: Path
    line: int
    text: str

    @property
    def words(self) -> int:
        return len(_WORD.findall(self.text))

    def hits(self, word: str) -> Iterator[str]:
        """Yield where a word stands, with the words around it."""
        for match in _WANTED[word].finditer(self.text):
            line = self.line + self.text.count("\n", 0, match.start())
            around = self.text[max(0, match.start() - 40) : match.end() + 40]
            yield f"{Place(self.place, line)}  {' '.join(around.split())}"


Passages = dict[str, list[Passage]]  # by kind


def measure(tree: Tree, report: Report) -> None:
    """Report the words in docstrings and comments, in messages, and in pages; then how docstrings begin."""
    _words(_passages(tree.src, tree.pages), report)
    found = [(Place(source.path, line), text) for source in tree.src for line, text in _docstrings(source)]
    begun = [f"{place}  {text.strip().splitlines()[0]}" for place, text in found if _opens_badly(text)]
    title = f"docstrings that begin with {'/'.join(OPENINGS)}"
    report.table("Docstrings", ("", "count"), [("all", len(found)), (title, len(begun))] if found else [])
    report.finding(title, begun, limit=0)


def _words(passages: Passages, report: Report) -> None:
    totals = {kind: sum(passage.words for passage in passages[kind]) for kind in KINDS}
    rows: list[list[object]] = [["words of prose", *(cell for kind in KINDS for cell in (totals[kind], "", ""))]]
    hits = {(word, kind): _hits(word, passages[kind]) for word in WORDS for kind in KINDS}
    for word in WORDS:
        rows.append([word])
        for kind, peers in zip(KINDS, PEERS[word], strict=True):
            count = len(hits[word, kind])
            rows[-1] += [count, f"{_rate(count, totals[kind]):.1f}", f"{peers:.1f}"]
    report.table("Words per 10,000", ("", *(head for kind in KINDS for head in (kind, "rate", "peers"))), rows)
    for (word, kind), places in hits.items():
        peers = PEERS[word][KINDS.index(kind)]
        allowed = math.ceil(max(2 * peers, FLOOR) * totals[kind] / 10_000)
        report.finding(f'"{word}" in {kind}', places, limit=allowed)


def _hits(word: str, passages: list[Passage]) -> list[str]:
    return [hit for passage in passages for hit in passage.hits(word)]


def _rate(count: int, words: int) -> float:
    return 10_000 * count / words if words else 0.0


def _passages(sources: Iterable[Source], pages: Iterable[Path]) -> Passages:
    found: Passages = {kind: [] for kind in KINDS}
    for source in sources:
        docstrings = list(_docstrings(source))
        found["code"] += [Passage(source.path, line, _prose(text)) for line, text in docstrings]
        found["code"] += _comments(source)
        found["messages"] += _messages(source, {line for line, _ in docstrings})
    for page in pages:
        found["pages"].append(Passage(page, 1, _prose(_blank(_FENCE, page.read_text(encoding="utf-8")))))
    return found


def _docstrings(source: Source) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each docstring of a module, class or function."""
    for node in source.nodes():
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node, clean=False)
            if text and text.strip():
                yield node.body[0].lineno, text


def _comments(source: Source) -> Iterator[Passage]:
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type == tokenize.COMMENT:
            yield Passage(source.path, token.start[0], _prose(token.string))


def _messages(source: Source, docstrings: set[int]) -> Iterator[Passage]:
    """Yield errors, helps and log texts: strings of several words that are no docstrings."""
    inside: set[int] = set()
    for node in source.nodes():
        if isinstance(node, ast.JoinedStr):
            parts = [part for part in node.values if isinstance(part, ast.Constant)]
            inside.update(map(id, parts))
            text = "`x`".join(str(part.value) for part in parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            text = node.value
        else:
            continue
        passage = Passage(source.path, node.lineno, _prose(text))
        if passage.words >= MESSAGE and node.lineno not in docstrings:
            yield passage


def _prose(text: str) -> str:
    return _blank(_CODE, text)


def _blank(pattern: re.Pattern[str], text: str) -> str:
    """Take out what matches, but keep its line ends, so that lines are still counted right."""
    return pattern.sub(lambda match: "\n" * match[0].count("\n") or " ", text)


def _opens_badly(text: str) -> bool:
    return text.split(maxsplit=1)[0] in OPENINGS


def main() -> None:
    """Print the rates of other projects: all Python and Markdown below the given paths."""
    paths = [Path(argument) for argument in sys.argv[1:]]
    files = sorted({file for path in paths for file in ([path] if path.is_file() else path.rglob("*"))})
    sources = [Source(file) for file in files if file.suffix == ".py"]
    _words(_passages(sources, [file for file in files if file.suffix == ".md"]), Report(listing=False))


if __name__ == "__main__":
    main()
