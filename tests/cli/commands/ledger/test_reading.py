"""`transfers`, `explain` and `status`: what the ledger remembers, for people and for programs, while no service runs."""

from __future__ import annotations

import asyncio
import re
import socket
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from skyferry.cli.commands.ledger.selection import SKIPS
from skyferry.clock import SystemClock
from skyferry.ledgers.sqlite.ledger import SqliteLedger
from skyferry.model import Change, Provider
from skyferry.server.models import TransferPage, TransferSummary, TransferView
from skyferry.testing.ledger.refusals import FIRST, UNROUTED

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

DONE, SKIPPED, RETRY, DEAD, MALFORMED = (f"{n:032x}" for n in range(1, 6))


def test_transfers_lists_the_newest_first(filled: Cli) -> None:
    listed = filled("transfers", "--json").json()
    assert [item["transfer_id"] for item in listed["items"]] == [DEAD, RETRY, SKIPPED, DONE]
    assert listed["cursor"] == ""


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--state", "done"], [DONE]),
        (["--prefix", "report"], [SKIPPED, DONE]),
        (["--source-key", "slow.bin"], [RETRY]),
        (["--reason", "superseded"], [SKIPPED]),
        (["--route", "other"], []),
        (["--since", "1h", "--state", "retry"], [RETRY]),
        (["--until", "2020-01-01T00:00:00Z"], []),
    ],
)
def test_options_narrow_the_listing(filled: Cli, options: list[str], expected: list[str]) -> None:
    listed = filled("transfers", "--json", *options).json()
    assert [item["transfer_id"] for item in listed["items"]] == expected


def test_the_cursor_goes_on_where_a_page_ended(filled: Cli) -> None:
    first = filled("transfers", "--json", "--limit", "3").json()
    rest = filled("transfers", "--json", "--cursor", first["cursor"]).json()
    assert [len(first["items"]), [item["transfer_id"] for item in rest["items"]]] == [3, [DONE]]


def test_json_is_the_document_of_the_http_api(filled: Cli) -> None:
    page = filled("transfers", "--json").json()
    assert page.keys() == TransferPage.model_fields.keys()
    assert all(item.keys() == TransferSummary.model_fields.keys() for item in page["items"])
    one = filled("transfers", DONE, "--json").json()
    assert one.keys() == TransferView.model_fields.keys()
    assert one["receipt"]["attested"]["crc32c"] == "0a0b0c0d"


def test_the_table_shows_state_key_and_id(filled: Cli) -> None:
    result = filled("transfers")
    [line] = [line for line in result.out.splitlines() if SKIPPED in line]
    assert "skipped: superseded" in line
    assert "report.csv" in line


def test_a_key_cannot_colour_the_terminal(filled: Cli) -> None:
    for command in (["transfers"], ["transfers", DEAD], ["dead-letters", "list"], ["explain", "secret\x1b[31m.txt"]):
        out = filled(*command).out
        assert "\x1b[31m" not in out
        assert "secret\\x1b[31m.txt" in out


def test_an_unknown_transfer_is_not_found(filled: Cli) -> None:
    result = filled("transfers", "f" * 32)
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(f"error: {'f' * 32}: the transfer does not exist")


def test_a_workspace_without_a_ledger_says_so_and_stays_untouched(cli: Cli) -> None:
    result = cli("transfers", "--workspace", "elsewhere")
    assert result.code == 1
    assert result.err.startswith("error: elsewhere/ledger.db: the ledger does not exist")
    assert result.err.count("\n") == 1
    assert not list(Path().iterdir())


def test_explain_shows_what_is_where_and_why(filled: Cli) -> None:
    out = filled("explain", "report.csv").out
    assert (
        "destination: report.csv has version d-1\n    copied from file://source/report.csv, version v-report.csv\n"
        in out
    )
    assert "crc32c 0a0b0c0d: computed, destination agrees" in out
    assert "skipped (superseded): a newer version was already applied" in out
    assert out.index(DONE) < out.index(SKIPPED), "oldest first"


def test_explain_shows_failures_and_that_an_outage_does_not_count(filled: Cli) -> None:
    assert (
        "attempt 1 failed (an outage: not counted): throttled: throttled was the answer"
        in filled("explain", "slow.bin").out
    )


def test_explain_shows_the_dead_letter_with_its_hint(filled: Cli) -> None:
    story = filled("explain", "secret\x1b[31m.txt", "--json").json()
    [letter] = story["dead_letters"]
    assert (letter["id"], letter["reason"], letter["hint"]) == (DEAD, "permission_denied", "give it the right to")
    assert [t["state"] for t in story["transfers"]] == ["dead"]


def test_explain_knows_a_key_exactly_not_by_its_beginning(filled: Cli) -> None:
    result = filled("explain", "report")
    assert result.code == 1
    assert "the ledger does not know this object" in result.err


ROUTES = """
stores: {photos: {url: "s3://photos"}, source: {url: "file://source"}, destination: {url: "file://destination"}}
routes:
  - {name: default, from: source, to: destination}
  - {name: raw, from: photos, to: destination, key: "copies/{key}", filter: {prefix: raw/, exclude: ["**/*.tmp"]}}
queues: [{name: q, url: "sqlite://queue.db"}]
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("s3://photos/raw/a.txt", "route raw would copy aws_s3://photos/raw/a.txt to destination: copies/raw/a.txt"),
        ("aws_s3://photos/x.txt", "route raw rejects aws_s3://photos/x.txt: filter.prefix: raw/"),
        ("raw/a.tmp", "route raw rejects aws_s3://photos/raw/a.tmp: filter.exclude: **/*.tmp"),
        ("raw/a.txt", "route default would copy file://source/raw/a.txt to destination: raw/a.txt"),
        ("s3://photo/raw/a.txt", "no configured store has the bucket aws_s3://photo"),
        ("s3://photos/raw/a%20b.txt?region=eu-west-1", "to destination: copies/raw/a b.txt"),
    ],
)
def test_explain_tries_the_routes_for_what_it_has_never_seen(filled: Cli, text: str, said: str) -> None:
    Path("skyferry.yaml").write_text(ROUTES)
    result = filled("explain", text, "--config", "skyferry.yaml")
    assert (result.code, "the ledger does not know this object" in result.err) == (1, True)
    assert said in result.out
    told = filled("explain", text, "--config", "skyferry.yaml", "--json").json()
    assert told["routes"]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("s3://photos/raw/a.txt", "check that its source publishes events"),
        ("s3://photos/x.txt", "no route takes it: correct a route if it is to be copied"),
        ("s3://photo/raw/a.txt", "add a store with this bucket, or correct the URL"),
    ],
)
def test_the_hint_fits_the_answers_of_the_routes(filled: Cli, text: str, hint: str) -> None:
    """The source is not suspected of what every route rejects."""
    Path("skyferry.yaml").write_text(ROUTES)
    assert filled("explain", text, "--config", "skyferry.yaml").err.endswith(f"({hint})\n")


@pytest.mark.parametrize(
    "text",
    [
        "file://source/report.csv",
        "file://source/report%2Ecsv",
        "file://destination/report.csv?x=y",
        "skyferry-data/source/report.csv",
        "file://{cwd}/skyferry-data/destination/report.csv",
    ],
)
def test_explain_takes_urls_in_every_form(filled: Cli, text: str) -> None:
    """Those of events, of stores, and paths; encoded or not."""
    result = filled("explain", text.format(cwd=Path.cwd()))
    assert (result.code, DONE in result.out) == (0, True), result.err
    assert filled("explain", "file://elsewhere/report.csv").code == 1


def test_explain_shows_the_rule_that_refused_an_event(filled: Cli) -> None:
    """And letters of buckets that no store is."""

    async def refuse() -> None:
        ledger = SqliteLedger(Path("skyferry-data", "ledger.db"), "test", SystemClock())
        await ledger.add_refusals(
            [replace(FIRST, source=replace(FIRST.source, provider=Provider.FILE, bucket="source"))]
        )
        await ledger.add_dead_letters([UNROUTED])
        await ledger.close()

    asyncio.run(refuse())
    result = filled("explain", f"file://source/{FIRST.source.key}")
    assert (result.code, "route r rejected it: filter.prefix: b/" in result.out) == (0, True)
    told = filled("explain", FIRST.source.key, "--json").json()
    assert told["refusals"][0]["rules"] == [{"route": "r", "rule": "filter.prefix: b/"}]
    assert "dead letter u1, unrouted_bucket" in filled("explain", "s3://nc/k/1").out
    assert "unrouted   1 event of aws_s3://nc matches no configured store" in filled("status").out
    assert filled("status", "--json").json()["unrouted"] == {"aws_s3://nc": 1}
    assert filled("dead-letters", "list", "--json").json()["buckets"] == [{"bucket": "aws_s3://nc", "count": 1}]


def test_explain_shows_the_routes_that_take_what_was_refused(filled: Cli) -> None:
    """The routes have changed, or another worker of the fleet has others."""
    refused = replace(FIRST, source=replace(FIRST.source, provider=Provider.FILE, bucket="source", key="new/1"))

    async def refuse() -> None:
        ledger = SqliteLedger(Path("skyferry-data", "ledger.db"), "test", SystemClock())
        deleted = replace(refused, source=replace(refused.source, key="new/2"), change=Change.DELETED)
        await ledger.add_refusals([refused, deleted])
        await ledger.close()

    asyncio.run(refuse())
    result = filled("explain", "new/1")
    assert result.code == 0
    assert "route default would copy file://source/new/1 to destination: new/1\n" in result.out
    assert "`skyferry submit` copies it" in result.out
    assert [each["to"] for each in filled("explain", "new/1", "--json").json()["routes"]] == ["destination: new/1"]
    assert "would copy" not in filled("explain", "new/2").out
    Path("skyferry.yaml").write_text(ROUTES.replace("to: destination}", "to: destination, filter: {prefix: b/}}"))
    assert "would copy" not in filled("explain", "new/1", "--config", "skyferry.yaml").out


def test_status_counts_what_is_in_the_files(filled: Cli) -> None:
    status = filled("status", "--json").json()
    assert {state: n for state, n in status["transfers"].items() if n} == {
        "done": 1,
        "skipped": 1,
        "retry": 1,
        "dead": 1,
    }
    assert status["dead_letters"] == 2
    assert status["queues"] == {"events": {"ready": 0, "leased": 0, "delayed": 0, "oldest_age": 0.0}}
    assert status["service"] is None


def test_status_shows_unknown_depths_of_a_queue(filled: Cli) -> None:
    """Pub/Sub does not count what waits."""
    queue = "pubsub://project/events?endpoint=http://127.0.0.1:1&identity=anonymous&topic=t"
    routes = "[{name: r, from: file://a, to: file://b}]"
    Path("skyferry.yaml").write_text(f"{{routes: {routes}, queues: [{{name: q, url: '{queue}'}}]}}")
    told = filled("status", "--config", "skyferry.yaml").out
    assert "queue      q: the provider does not report the number of messages\n" in told


def test_status_in_words(filled: Cli) -> None:
    out = filled("status").out
    assert "service    does not respond" in out
    assert "2 dead letters: skyferry dead-letters list" in out


def test_a_service_of_this_machine_is_asked_by_no_proxy(filled: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be told the token, and knows nothing of our loopback."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        monkeypatch.delenv("no_proxy", raising=False)
        assert filled("status", "--json").json()["service"] is None
        proxy.settimeout(0)
        with pytest.raises(BlockingIOError):
            proxy.accept()


def test_status_of_a_service_that_does_not_answer_has_its_own_exit_code(filled: Cli) -> None:
    result = filled("status", "--url", "http://127.0.0.1:9")
    assert result.code == 4
    assert result.err.startswith("error: http://127.0.0.1:9/v1/status: ")


@pytest.mark.parametrize("command", [("transfers",), ("dead-letters", "list")])
def test_an_unknown_name_in_a_filter_is_a_warning(filled: Cli, command: tuple[str, ...]) -> None:
    assert filled(*command, "--reason", "curent").err == "warning: --reason: curent is unknown. Did you mean current?\n"
    result = filled(*command, "--route", "nope")
    assert (result.code, result.err) == (0, "warning: --route: nope is unknown. Known: default.\n")
    assert filled(*command, "--reason", "permission_denied").err == ""


def test_the_reasons_of_skipped_transfers_are_those_of_the_page() -> None:
    page = Path(__file__).parents[4] / "docs" / "reference" / "errors.md"
    table = page.read_text().partition("## Reasons of skipped transfers")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(SKIPS)
