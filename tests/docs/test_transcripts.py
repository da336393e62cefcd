"""The transcripts in the documentation are true."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.docs import transcripts
from tests.docs.pages import DOCS
from tests.docs.transcripts import Step, run, steps


@pytest.mark.parametrize("page", transcripts.PAGES)
def test_commands_print_what_the_page_shows(page: str, tmp_path: Path) -> None:
    mend = "if this is right: make transcripts"
    for step in steps((DOCS / page).read_text("utf-8")):
        printed = run(step, tmp_path)
        assert transcripts.agree(step.shown, printed), "\n".join([mend, f"$ {step.command}", *printed])


def test_the_readme_shows_the_story_of_an_object(tmp_path: Path) -> None:
    """It runs the service in another terminal, here until nothing is left to do."""
    make, explain = list(
        steps((DOCS.parent / "README.md").read_text("utf-8").replace("$ .venv/bin/skyferry", "$ skyferry"))
    )[1:]
    for command in ("skyferry run --samples --until-idle", make.command, "skyferry run --until-idle"):
        run(Step(0, command, [], {}), tmp_path)
    printed = run(explain, tmp_path)
    assert transcripts.agree(explain.shown, printed), "\n".join(printed)
