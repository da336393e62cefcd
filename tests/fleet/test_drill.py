"""A fleet with wrong clocks keeps its promises while workers are killed, stopped and cut off, and the ledger is restarted."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.absent import absent
from tests.fleet.drill import Drill, format_verdict, run_drill
from tests.fleet.network import find_faketime, why_no_namespaces
from tests.fleet.servers import Engine
from tests.fleet.settlements import DEAD, DONE, MESSAGE_DEAD, Loss, Settlement, find_forgotten, read_settlements
from tests.fleet.verdict import Verdict, compare_letters, compare_settlements, compare_versions

from skyferry.ports import DeadLetter
from skyferry.testing.servers import ServerMissing


@pytest.mark.parametrize("engine", ["postgresql", "redis"])
async def test_a_small_drill_breaks_no_promise(engine: Engine, tmp_path: Path) -> None:
    """Nothing is missing, twice or backwards, and dead letters are those that were made impossible."""
    if why := why_no_namespaces():
        pytest.skip(why)
    if find_faketime() is None:
        pytest.skip("libfaketime is not installed: apt-get install faketime")
    try:
        verdict = await run_drill(Drill(events=400, faults=6, engine=engine), tmp_path)  # each fault once
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
        ({"k": ["a", None, "c"]}, ""),  # a write that was not recorded is undone when the source has changed
        ({}, "missing"),
        ({"k": ["a", "b"]}, "missing"),
        ({"k": ["c"], "gone": ["d"]}, "missing"),
        ({"k": ["b", "b", "c"]}, "twice"),
        ({"k": ["b", None, "b", "c"]}, "twice"),
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


def test_settlements_are_read_with_the_time_of_this_machine(tmp_path: Path) -> None:
    """Of logs whose clocks are wrong. A line that a kill has cut off is left out."""
    line = b'{"time":"2026-11-29T10:00:%02d.500000Z","event":"transfer.done","transfer_id":"%b","key":"k"}\n'
    (tmp_path / "a").write_bytes(b"open http://127.0.0.1\n" + line % (7, b"one") + (line % (8, b"two"))[:60])
    (tmp_path / "b").write_bytes(line % (30, b"one"))
    read = list(read_settlements({tmp_path / "a": -3, tmp_path / "b": 20}))
    begin = datetime(2026, 11, 29, 10, tzinfo=UTC).timestamp()
    assert read == [Settlement(DONE, begin + 10.5, "one", "k")] * 2


ONCE, AGAIN = Settlement(DONE, 10.0, "one", "k"), Settlement(DONE, 20.0, "one", "k")


@pytest.mark.parametrize(
    ("losses", "excused"),
    [
        ((), False),
        ((Loss(9.0, 10.0),), True),
        ((Loss(9.0, 9.5),), True),  # its line in the log came a little later
        ((Loss(11.0, 19.0),), False),
        ((Loss(5.0, 7.0),), False),
    ],
)
def test_only_what_the_ledger_lost_may_be_done_twice(losses: tuple[Loss, ...], excused: bool) -> None:
    """The first time is what counts: after it the ledger should have known the transfer."""
    verdict, settlements = Verdict(), [ONCE, AGAIN]
    compare_settlements(settlements, find_forgotten(settlements, losses), verdict)
    assert (verdict.breaches == []) is excused
    assert verdict.counts["of them done twice"] == 1


def make_letter(route: str, key: str, body: bytes = b"") -> DeadLetter:
    return DeadLetter("1", 1.0, "events", "checksum_mismatch", "", "", body, (), route, key=key)


WRONG, POISON = make_letter("all", "wrong"), make_letter("", "", b"no event")
LOST_WRONG, LOST_POISON = Settlement(DEAD, 10.0, "one", "wrong"), Settlement(MESSAGE_DEAD, 10.0)


@pytest.mark.parametrize(
    ("letters", "forgotten", "breaches"),
    [
        ([WRONG, POISON], [], 0),
        ([WRONG], [], 1),
        ([POISON], [], 1),
        ([], [LOST_WRONG, LOST_POISON], 0),
        ([], [LOST_WRONG], 1),
        ([POISON], [Settlement(DEAD, 10.0, "one", "k")], 1),
        ([WRONG, POISON, make_letter("all", "k")], [LOST_WRONG], 1),
        ([WRONG, POISON, make_letter("", "", b"an event")], [LOST_POISON], 1),
    ],
)
def test_only_dead_letters_that_the_ledger_lost_may_be_missing(
    letters: list[DeadLetter], forgotten: list[Settlement], breaches: int
) -> None:
    """None may be there that was not meant."""
    verdict = Verdict()
    compare_letters(letters, (["wrong"], [b"no event"]), forgotten, verdict)
    assert len(verdict.breaches) == breaches
