"""Settings and commands that the pages name exist."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from tests.docs.pages import DOCS

from skyferry.cli import app
from skyferry.cli.reference import list_commands
from skyferry.config.sections.section import Section, find_section
from skyferry.config.settings import Settings
from skyferry.records import EVENTS

TEXT = "\n".join(page.read_text("utf-8") for page in [DOCS.parent / "README.md", *DOCS.rglob("*.md")])


def settings(section: type[Section], place: str = "") -> Iterator[str]:
    """Yield every setting by its place, such as `routes[].filter.glob`."""
    for field, declared in section.model_fields.items():
        name = place + (declared.alias or field)
        yield name
        if below := find_section(section.find_kinds()[field]):
            for step in ("", "[]", ".NAME"):
                yield from settings(below, f"{name}{step}.")


def test_settings_exist() -> None:
    known = set(settings(Settings))
    sections = "|".join(sorted({name.split(".")[0].removesuffix("[]") for name in known}))
    files = {"server.token", "ledger.db", "ledger.db.rebuilt"}
    named = set(re.findall(rf"`((?:{sections})(?:\[\]|\.NAME)?\.[a-z_.]+)`", TEXT)) - files - set(EVENTS)
    assert len(named) > 20
    assert sorted(named - known) == []


def test_log_events_exist() -> None:
    kinds = "|".join(sorted({name.split(".")[0] for name in EVENTS} - {"ledger", "message", "queue", "server"}))
    named = set(re.findall(rf"`((?:{kinds})\.[a-z_]+)`", TEXT))
    assert len(named) > 20
    assert sorted(named - set(EVENTS)) == []


def commands() -> dict[str, set[str]]:
    """Return the options of each command by its name."""
    found: dict[str, set[str]] = {}
    for name, command in list_commands(app):
        below = list(list_commands(command)) if isinstance(command, click.Group) else []
        for inner, each in [("", command), *below]:
            found[f"{name} {inner}".strip()] = {o for p in each.params for o in [*p.opts, *p.secondary_opts]}
    return found


COMMANDS = commands()


@pytest.mark.parametrize("line", sorted(set(re.findall(r"(?:`|^\$ |^)skyferry ([a-z][^`\n]*)", TEXT, re.MULTILINE))))
def test_commands_and_options_exist(line: str) -> None:
    words = line.split("#")[0].split()
    name = " ".join(words[:2]).rstrip(",") if " ".join(words[:2]).rstrip(",") in COMMANDS else words[0]
    assert name in COMMANDS
    options = {word.split("=")[0] for word in words if word.startswith("--")}
    assert options <= COMMANDS[name], line


def test_flags_and_commands_of_rclone_exist() -> None:
    rows = re.findall(r"^\| (.*?) \|", (DOCS / "operations" / "from-rclone.md").read_text("utf-8"), re.MULTILINE)
    program = Path(sys.executable).parent / "rclone"
    known = subprocess.run([program, "help", "flags"], capture_output=True, text=True, check=True).stdout
    flags = {flag for row in rows for flag in re.findall(r"`(--[a-z0-9-]+)`", row)}
    assert len(flags) >= 30
    assert sorted(flag for flag in flags if f" {flag} " not in known) == []
    listed = subprocess.run([program, "help"], capture_output=True, text=True, check=True).stdout
    words = {word for row in rows for word in re.findall(r"`rclone ([a-z]+)", row)}
    assert sorted(word for word in words if f"\n  {word} " not in listed) == []
