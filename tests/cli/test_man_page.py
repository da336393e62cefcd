"""The manual page of the wheel is one that `man` formats without a complaint."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from skyferry.cli.command_table import COMMANDS
from skyferry.cli.man_page import render_man_page

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "src" / "skyferry" / "cli" / "skyferry.1"


def test_the_page_is_up_to_date_and_in_the_wheel() -> None:
    """`make docs` writes it."""
    assert PAGE.read_text("utf-8") == render_man_page()
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]
    assert targets["wheel"]["shared-data"][str(PAGE.relative_to(ROOT))] == "share/man/man1/skyferry.1"


@pytest.mark.skipif(not shutil.which("man"), reason="install man-db")
def test_man_formats_it(tmp_path: Path) -> None:
    environment = os.environ | {"MANWIDTH": "80", "MANPAGER": "cat", "LC_ALL": "C.UTF-8"}
    command = ["man", "--warnings=w", "-E", "UTF-8", "-l", str(PAGE)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert done.stderr == ""
    for entry in COMMANDS:
        assert f"skyferry {entry.name}" in done.stdout
    assert "--ignore-ledger" in done.stdout
