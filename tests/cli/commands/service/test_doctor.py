"""`skyferry doctor` on folders: what it prints for people and for programs, and its exit code."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from tests.cli.conftest import Cli

from skyferry.cli.exit_codes import ExitCode
from skyferry.doctor.check import WHAT

ROUTE = """\
routes: [{{name: r, from: source, to: destination{more}}}]
stores:
  source: {{url: "file://source"}}
  destination: {{url: "{destination}"}}
"""


@pytest.fixture
def folders(cli: Cli) -> Path:
    """The workspace, with an object at the source. `cli` has changed into its parent."""
    workspace = Path("skyferry-data")
    for name in ("source", "destination"):
        (workspace / name).mkdir(parents=True)
    (workspace / "source" / "a.txt").write_text("a")
    return workspace


def written(destination: str = "file://destination", more: str = "") -> str:
    Path("skyferry.yaml").write_text(ROUTE.format(destination=destination, more=more))
    return "skyferry.yaml"


def test_all_is_well(cli: Cli, folders: Path) -> None:
    """JSON tells each check by its name, in words, with its state; nothing is left in the destination."""
    told = cli("doctor", "--json", "--config", written())
    document = told.json()
    assert (told.code, document["ok"], told.err) == (0, True, "")
    for check in document["checks"]:
        assert sorted(check) == ["check", "detail", "hint", "kind", "state", "what", "where"]
        assert (check["kind"] in ("store", "queue", "ledger", "route"), check["what"]) == (True, WHAT[check["check"]])
        assert check["state"] in ("ok", "unknown")
    names = [(check["where"], check["check"]) for check in document["checks"]]
    assert {("source", "read"), ("destination", "write"), ("destination", "delete"), ("r", "notified")} <= set(names)
    assert list((folders / "destination").glob("[!.]*")) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_that_is_ended_leaves_no_canary_behind(cli: Cli, folders: Path, number: int) -> None:
    """Nor would it keep the messages that it received."""
    file, command = written("sim://destination?latency=0.2"), [sys.executable, "-m", "skyferry", "doctor", "--config"]
    with subprocess.Popen([*command, file], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        while not list(folders.glob("destination/skyferry-doctor/*")):
            assert running.poll() is None
        running.send_signal(number)
        assert running.wait() == ExitCode.INTERRUPTED
    assert list(folders.glob("destination/skyferry-doctor/*")) == []


def test_people_get_ticks_and_crosses_with_a_hint(cli: Cli, folders: Path) -> None:
    """By store, queue and route."""
    told = cli("doctor", "--config", written("file:///nonexistent"))
    lines = told.out.splitlines()
    assert told.code == 1
    assert lines[0] == "store source, source of r"
    at = lines.index("store destination, destination of r")
    assert lines[at + 1].startswith("  ✗ reachable: ")
    assert lines[at + 2].startswith("      ")
    assert lines[-2:] == [
        "route r, source to destination",
        "  ✓ the bucket notifies a queue of new objects: the service watches the folder",
    ]


def test_without_canaries_nothing_is_written(cli: Cli, folders: Path) -> None:
    """The operating system says what may be done; a simulated store that refuses every write is not seen by it."""
    refusing = "sim://destination?permission=1"
    assert cli("doctor", "--config", written(refusing)).code == 1
    for more, places in (
        (", deletes: propagate", [("destination", "write"), ("destination", "delete")]),
        (", after_copy: delete", [("destination", "write"), ("source", "delete")]),
    ):
        told = cli("doctor", "--no-write", "--json", "--config", written(refusing, more))
        found = {(c["where"], c["check"]): c for c in told.json()["checks"]}
        for place in places:
            assert (found[place]["state"], found[place]["detail"]) == ("ok", "by the provider's answer, not tried")
    assert list((folders / "destination").glob("[!.]*")) == []


def test_before_the_first_run_nothing_is_wrong(cli: Cli) -> None:
    """Folders, queue and ledger of the embedded default come with it, and are not made by a look."""
    told = cli("doctor")
    assert (told.code, told.out.count("The first `skyferry run` creates it.")) == (0, 4)
    assert not Path("skyferry-data").exists()


def test_a_queue_of_an_older_version_is_not_brought_up_to_date(cli: Cli, folders: Path) -> None:
    """Nor is one that is no queue taken for one."""
    for name in ("queue.db", "ledger.db"):
        (folders / name).touch()
    told = cli("doctor", "--json", "--config", written())
    found = {(check["where"], check["check"]): check for check in told.json()["checks"]}
    assert found["events", "reach"]["detail"] == "waiting messages: 0"
    assert "which the next start brings to" in found["ledger", "usable"]["detail"]
    assert [(folders / name).stat().st_size for name in ("queue.db", "ledger.db")] == [0, 0]
    with closing(sqlite3.connect(folders / "queue.db")) as db:
        db.execute("CREATE TABLE recipes (title)")
    told = cli("doctor", "--config", written())
    assert told.code == 1
    assert "the file has no table 'message': it is not of Skyferry's queues" in told.out
