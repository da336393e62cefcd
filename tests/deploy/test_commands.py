"""The commands of the pages about Kubernetes: each subcommand and option of kubectl and helm exists.

`kubectl argo rollouts` is a plugin, which no registry has: https://argo-rollouts.readthedocs.io/en/stable/generated/kubectl-argo-rollouts/
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from tests.deploy.test_chart import _installed
from tests.docs.pages import DOCS
from tools import kubernetes

PAGES = [DOCS / "operations" / f"{name}.md" for name in ("kubernetes", "rollouts")]
PROGRAMS = {"kubectl": kubernetes.kubectl, "helm": kubernetes.helm}


def commands() -> Iterator[list[str]]:
    """Yield the words of each command, up to a pipe or redirection, and without what a pod runs."""
    for page in PAGES:
        for block in re.findall(r"^```sh\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                for command in re.split(r"[|>]", line):
                    words = shlex.split(command, comments=True)
                    if words and words[0] in PROGRAMS and words[1:2] != ["argo"]:
                        yield words[: words.index("--")] if "--" in words else words


COMMANDS = {" ".join(words): words for words in commands()}


@cache
def read_help(program: Path, *arguments: str) -> str:
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 15


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS.keys())
def test_subcommand_and_options_exist(words: list[str]) -> None:
    program = _installed(PROGRAMS[words[0]])
    arguments = words[1:]
    for option in ("--namespace", "-n"):  # may stand before the subcommand
        if arguments[0] == option:
            arguments = arguments[2:]
    subcommand = arguments[0]
    everywhere = read_help(program, "options") if words[0] == "kubectl" else ""
    known = set(
        re.findall(r"--[a-z][a-z-]*", read_help(program, *find_path(subcommand, arguments), "--help") + everywhere)
    )
    used = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert used <= known


def find_path(subcommand: str, arguments: list[str]) -> list[str]:
    """Return a subcommand with its own: `create secret generic`."""
    deeper = {"create": 1 + (arguments[1:2] == ["secret"])}.get(subcommand, 0)
    return arguments[: 1 + deeper]
