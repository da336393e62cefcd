"""Run the console blocks of a page and compare the output with the page.

All blocks of a page run in one empty folder, in order. A YAML block that begins with `# NAME.yaml` is written to that file.
A shown line of `…` stands for any lines, `…` within a line for any text. Dates, ids, durations and addresses may differ.
Log lines are left out.

    make transcripts     # write what the commands print into the pages
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from tests.docs.pages import DOCS

from skyferry.cli import main

PAGES = [
    "getting-started.md",
    "how-to/dead-letters.md",
    "how-to/deletes.md",
    "how-to/routes.md",
    "operations/from-rclone.md",
    "operations/ledger.md",
    "operations/troubleshooting.md",
]
HOME = "/home/ada"
MASKS = [
    (r"20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.\d]*(Z|[+]\d\d:\d\d)?", "DATE"),
    (r"\b20\d\d/\d\d(/\d\d)?\b", "DAY"),
    (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "UUID"),
    (r"\b[0-9a-f]+-[0-9a-f]+-[0-9a-f]{12,}\b", "VERSION"),
    (r"--cursor \S+", "--cursor CURSOR"),
    (r"\btime:\d+", "time:POSITION"),
    (r"\b[0-9a-f]{8,}\b", "HEX"),
    (r"\b[\d.,]+ (ms|s|h|days?)\b", "DURATION"),
    (r"\b[\d.,]+ [KMG]?i?B(/s| free)", "RATE"),
    (r"─+", "─"),
    (r"\s+", " "),
]


@dataclass(frozen=True)
class Step:
    """One command of a page and the output that the page shows for it."""

    line: int  # of the command, from 0
    command: str
    shown: list[str]
    files: dict[str, str]  # to write before it, by name


def steps(text: str) -> Iterator[Step]:
    """Yield the commands of a page in order."""
    files: dict[str, str] = {}
    lines = text.splitlines()
    fences = [number for number, line in enumerate(lines) if line.startswith("```")]
    for begin, end in zip(fences[::2], fences[1::2], strict=True):
        body = lines[begin + 1 : end]
        if lines[begin] == "```yaml" and body and (name := re.fullmatch(r"# (\w+\.yaml)", body[0])):
            files[name[1]] = "\n".join(body) + "\n"
        if lines[begin] != "```console":
            continue
        starts = [number for number, line in enumerate(body) if line.startswith("$ ")]
        for start, stop in zip(starts, [*starts[1:], len(body)], strict=True):
            shown = body[start + 1 : stop]
            while shown and not shown[-1]:
                shown.pop()
            yield Step(begin + 1 + start, body[start][2:], shown, files)
            files = {}


def run(step: Step, folder: Path, columns: int = 110) -> list[str]:
    """Run one command in a folder, and return the lines that it prints."""
    for name, text in step.files.items():
        (folder / name).write_text(text)
    printed = "\n".join(_lines(step.command, folder, columns)).replace(str(folder.resolve()), HOME)
    printed = re.sub(r"127\.0\.0\.1:\d{4,5}", "127.0.0.1:8080", printed)  # any free port in a test
    return [line.rstrip() for line in printed.splitlines() if not line.startswith('{"time"')]


def _lines(command: str, folder: Path, columns: int) -> list[str]:
    """Commands of Skyferry run in this process, which saves starting an interpreter for each; all others in a shell."""
    words = shlex.split(command)
    if words[0] != "skyferry":
        done = subprocess.run(["sh", "-c", command], cwd=folder, stdout=subprocess.PIPE, check=True)
        return done.stdout.decode().splitlines()
    others = {name: value for name, value in os.environ.items() if not name.startswith("SKYFERRY_")}
    state = {"XDG_STATE_HOME": f"{folder}-state"}  # beside it: the folder is listed
    environment = others | state | {"COLUMNS": str(columns), "SKYFERRY_SERVER__LISTEN": "127.0.0.1:0"}
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as file,
        chdir(folder),
        patch.dict(os.environ, environment, clear=True),
    ):
        with redirect_stdout(file), redirect_stderr(file), suppress(SystemExit):
            main(words[1:])
        file.seek(0)
        return file.read().splitlines()


def agree(shown: list[str], printed: list[str]) -> bool:
    """Compare what a page shows with what was printed."""
    pattern = "".join(r"(?:.*\n)*?" if line.strip() == "…" else _pattern(line) + r"\n" for line in shown)
    return re.fullmatch(pattern, "".join(f"{_masked(line)}\n" for line in printed)) is not None


def _pattern(line: str) -> str:
    return ".*".join(re.escape(_masked(part)) for part in line.split("…"))


def _masked(line: str) -> str:
    for pattern, word in MASKS:
        line = re.sub(pattern, word, line)
    return line.rstrip()


def update(page: Path) -> None:
    """Write the output of each command into the page where it differs."""
    lines = page.read_text("utf-8").splitlines()
    with tempfile.TemporaryDirectory() as folder:
        done = [(step, run(step, Path(folder))) for step in steps("\n".join(lines))]
    for step, printed in reversed(done):
        if not agree(step.shown, printed):
            lines[step.line + 1 : step.line + 1 + len(step.shown)] = printed
    page.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    for name in PAGES:
        update(DOCS / name)
