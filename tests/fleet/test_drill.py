"""A fleet with wrong clocks keeps its promises while workers are killed, stopped and cut off, and the ledger is restarted."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.absent import absent
from tests.fleet.drill import Drill, format_verdict, run_drill
from tests.fleet.network import find_faketime, why_no_namespaces
from tests.fleet.verdict import Verdict, compare_versions, count_done

from skyferry.testing.servers import ServerMissing

SMALL = Drill(events=400, faults=6)  # each fault once, and two restarts of the ledger


async def test_a_small_drill_breaks_no_promise(tmp_path: Path) -> None:
    """Nothing is missing, twice or backwards, and dead letters are those that were made impossible."""
    if why := why_no_namespaces():
        pytest.skip(why)
    if find_faketime() is None:
        pytest.skip("libfaketime is not installed: apt-get install faketime")
    try:
        verdict = await run_drill(SMALL, tmp_path)
    except ServerMissing as missing:
        absent(missing)
    assert not verdict.breaches, format_verdict(verdict)
    happened = [
        name for name in verdict.counts if name.startswith(("cut off", "killed", "stopped", "drained", "ledger"))
    ]
    assert len(happened) == 8


HISTORY: dict[str, list[str | None]] = {"k": ["a", "b", "c"], "gone": ["d", None], "impossible": ["e"]}


@pytest.mark.parametrize(
    ("seen", "breach"),
    [
        ({"k": ["a", "c"], "gone": ["d", None]}, ""),
        ({"k": ["c"]}, ""),
        ({"k": ["b", "b", "c"]}, ""),
        ({}, "missing"),
        ({"k": ["a", "b"]}, "missing"),
        ({"k": ["c"], "gone": ["d"]}, "missing"),
        ({"k": ["b", "a", "c"]}, "backwards"),
        ({"k": ["c"], "gone": [None, "d", None]}, "backwards"),
        ({"k": ["x", "c"]}, "foreign"),
        ({"k": ["c"], "unknown": ["x"]}, "foreign"),
        ({"k": ["c"], "impossible": ["e"]}, "impossible"),
    ],
)
def test_the_verdict_names_each_breach(seen: dict[str, list[str | None]], breach: str) -> None:
    """Of the versions that the destination has shown."""
    verdict = Verdict()
    compare_versions(HISTORY, seen, ["impossible"], verdict)
    assert (breach == "") is (verdict.breaches == [])
    assert all(breach in {said.partition(":")[0] for said in verdict.breaches} for _ in verdict.breaches)


def test_a_transfer_that_was_done_twice_is_counted(tmp_path: Path) -> None:
    """In the logs of two workers, one of them cut off in a line."""
    line = b'{"event":"transfer.done","transfer_id":"%b"}\n'
    (tmp_path / "a").write_bytes(line % b"one" + line % b"two")
    (tmp_path / "b").write_bytes(line % b"one" + (line % b"two")[:40])
    assert count_done([tmp_path / "a", tmp_path / "b"]) == {"one": 2, "two": 1}
