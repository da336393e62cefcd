"""`docs/reference/cli.md` and `docs/reference/exit-codes.md` say what the program does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import pytest

from skyferry import errors
from skyferry.cli import app, exit_codes
from skyferry.cli.exit_codes import ExitCode
from skyferry.cli.reference import list_commands, render_cli_page, render_exit_codes_page

DOCS = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize(("name", "page"), [("cli.md", render_cli_page), ("exit-codes.md", render_exit_codes_page)])
def test_the_page_is_up_to_date(name: str, page: Callable[[], str]) -> None:
    """`make docs` writes it."""
    assert (DOCS / name).read_text("utf-8") == page()


def test_every_command_that_prints_json_states_its_contract() -> None:
    top = [command for _, command in list_commands(app)]
    below = [c for group in top if isinstance(group, click.Group) for _, c in list_commands(group)]
    with_json = [c for c in [*top, *below] if any("--json" in p.opts for p in c.params)]
    assert len(with_json) == 26
    assert [c.name for c in with_json if "JSON: " not in (c.help or "")] == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError(), ExitCode.USAGE),
        (errors.LedgerError(), ExitCode.UNREACHABLE),
        (errors.QueueError(), ExitCode.UNREACHABLE),
        (errors.FolderMissing(), ExitCode.UNREACHABLE),
        (errors.ServiceUnreachable(), ExitCode.UNREACHABLE),
        (errors.NotFound(), ExitCode.FAILED),
        (errors.EventError(), ExitCode.FAILED),
        (errors.BucketNotFound(), ExitCode.FAILED),
    ],
)
def test_errors_end_a_command_with_their_code(error: errors.SkyferryError, code: ExitCode) -> None:
    assert exit_codes.exit_code_for(error) is code


def test_errors_of_outages_are_transient_unless_said_otherwise() -> None:
    for kind in (
        errors.Throttled,
        errors.StoreTimeout,
        errors.ConnectionLost,
        errors.StoreUnavailable,
        errors.BreakerOpen,
    ):
        assert kind("x").transient is True
        assert kind("x", transient=False).transient is False
    assert errors.LedgerError("x").transient is None


def test_a_refusal_that_no_later_try_changes_is_no_outage() -> None:
    for kind in (errors.LedgerError, errors.QueueError):
        assert exit_codes.exit_code_for(kind(transient=True)) is ExitCode.UNREACHABLE
        assert exit_codes.exit_code_for(kind(transient=False)) is ExitCode.FAILED
    assert exit_codes.exit_code_for(errors.LedgerIncompatible(transient=False)) is ExitCode.INCOMPATIBLE
