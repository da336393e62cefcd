"""`skyferry workers`, for people and for programs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.ledgers.sqlite.old_program import make_file

from skyferry.clock import SystemClock
from skyferry.ledgers.sqlite.ledger import SqliteLedger
from skyferry.ports import Heartbeat, WorkerState
from skyferry.server.models import WorkerPage, WorkerView

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

FILE = Path("skyferry-data", "ledger.db")
HOST = "host\x1b[31m"


@pytest.fixture
def working(filled: Cli) -> Iterator[Cli]:
    """Two workers that run meanwhile."""
    ledgers = [SqliteLedger(FILE, name, SystemClock(), lease=1e6) for name in ("one", "two")]
    beats = [
        Heartbeat(HOST, "1.2.3", "eu-west-1", 7200.0, holds=1234, keys=(("to", "k"),), routes="1a2b", queues="q"),
        Heartbeat("other", "1.2.4", "", 5.0, WorkerState.DRAINING),
    ]
    for ledger, beat in zip(ledgers, beats, strict=True):
        asyncio.run(ledger.heartbeat(beat, ["deletes", "gauges"]))
    yield filled
    for ledger in ledgers:
        asyncio.run(ledger.close())


def test_workers_are_a_table(working: Cli) -> None:
    """With what each does for all, since when, and without control characters."""
    head, _, one, two, _, roles, _, deletes, gauges = working("workers").out.splitlines()
    assert head.split() == ["state", "host", "version", "region", "routes", "age", "heartbeat", "holds", "id"]
    assert one.startswith("running   host\\x1b[31m  1.2.3    eu-west-1  1a2b    2 h 0 min")
    assert one.split()[-2:] == ["1,234", "one"]
    assert two.split()[:3] == ["draining", "other", "1.2.4"]
    assert roles.split() == ["role", "age", "host", "id"]
    assert (deletes.split()[0], gauges.split()[0]) == ("deletes", "gauges")
    assert deletes.split()[-2:] == ["host\\x1b[31m", "one"]


@pytest.mark.parametrize(
    ("routes", "queues", "warned"),
    [("1a2b", "q", False), ("ffff", "q", True), ("ffff", "others", False), ("", "", False)],
)
def test_other_routes_with_the_same_queues_are_a_warning(working: Cli, routes: str, queues: str, warned: bool) -> None:
    """Workers with queues of their own may have routes of their own; those of an older release do not report them."""
    ledger = SqliteLedger(FILE, "three", SystemClock(), lease=1e6)
    asyncio.run(ledger.heartbeat(Heartbeat("host", "1.2.3", "", 1.0, routes=routes, queues=queues), []))
    assert ("warning: workers with the same queues have different routes" in working("workers").out) == warned
    asyncio.run(ledger.close())


def test_json_is_the_document_of_the_http_api(working: Cli) -> None:
    page = working("workers", "--json").json()
    assert page.keys() == WorkerPage.model_fields.keys()
    assert [item.keys() for item in page["items"]] == [WorkerView.model_fields.keys()] * 2
    first = working("workers", "--json", "--limit", "1").json()
    rest = working("workers", "--json", "--cursor", first["cursor"]).json()
    assert [[item["id"] for item in part["items"]] for part in (first, rest)] == [["one"], ["two"]]


def test_status_counts_them(working: Cli) -> None:
    assert "workers    1 running, 1 draining" in working("status").out.splitlines()
    assert working("status", "--json").json()["workers"] == {"running": 1, "draining": 1}


def test_a_ledger_without_workers_says_how_to_start_one(filled: Cli) -> None:
    found = filled("workers")
    assert (found.code, found.out) == (0, "no worker runs on this ledger: start one with `skyferry run`\n")
    assert filled("workers", "--json").json() == {"items": [], "cursor": ""}
    assert "workers    none" in filled("status").out.splitlines()


def test_a_ledger_of_an_earlier_release_has_none(cli: Cli) -> None:
    """Its file lacks the tables."""
    make_file(FILE)
    assert cli("workers").out.startswith("no worker runs")


def test_a_missing_ledger_is_named(cli: Cli) -> None:
    found = cli("workers")
    assert found.code != 0
    assert "the ledger does not exist" in found.err


def test_a_ledger_in_memory_needs_the_url_of_its_service(cli: Cli) -> None:
    Path("memory.yaml").write_text("ledger: {url: memory://ledger}\n")
    found = cli("workers", "--config", "memory.yaml")
    assert found.code != 0
    assert "use --url" in found.err


def test_a_service_that_does_not_answer_is_an_error(cli: Cli) -> None:
    found = cli("workers", "--url", "http://127.0.0.1:9")
    assert (found.code, "start the service" in found.err) == (4, True)


def test_a_misspelt_command_is_corrected(cli: Cli) -> None:
    assert "Did you mean 'workers'?" in cli("worker").err
