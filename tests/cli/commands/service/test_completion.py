"""`skyferry completion`: the scripts work in the shells that are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Cli


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(cli: Cli, shell: str) -> None:
    script = cli("completion", shell).out
    assert f"_SKYFERRY_COMPLETE={shell}_complete" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_an_unknown_shell_is_a_usage_error(cli: Cli) -> None:
    result = cli("completion", "tcsh")
    assert result.code == 2
    assert "'bash', 'zsh', 'fish'" in result.err


@pytest.mark.skipif(not shutil.which("bash"), reason="install bash")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("skyferry dead", "dead-letters"),
        ("skyferry dead-letters red", "redrive"),
        ("skyferry copy --retr", "--retry-for"),
    ],
)
def test_bash_completes(cli: Cli, tmp_path: Path, line: str, expected: str) -> None:
    words = line.split()
    skyferry = tmp_path / "skyferry"
    skyferry.write_text(f'#!/bin/sh\nexec {sys.executable} -m skyferry "$@"\n')
    skyferry.chmod(0o755)
    script = (
        f"{cli('completion', 'bash').out}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}\n"
        '_skyferry_completion skyferry; echo "${COMPREPLY[@]}"'
    )
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.split() == [expected]
