"""`skyferry completion`: print the completion script of a shell."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

from skyferry.cli.parameters import Argument


class Shell(StrEnum):
    """The shells with completion."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, Argument(metavar="bash|zsh|fish", help="The shell.")]) -> None:
    """Print the completion script of a shell.

    bash 4.4 or newer: add `eval "$(skyferry completion bash)"` to ~/.bashrc. zsh: write the script to `_skyferry` in a folder
    of `fpath`, before `compinit` runs. fish: write it to ~/.config/fish/completions/skyferry.fish.
    """
    from click.shell_completion import get_completion_class

    from skyferry.cli import app

    kind = get_completion_class(shell.value)
    assert kind is not None
    script = kind(app, {}, "skyferry", "_SKYFERRY_COMPLETE")
    sys.stdout.write(script.source_template % script.source_vars() + "\n")
