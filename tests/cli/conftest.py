"""The command line in this process, and a workspace whose ledger has seen something of everything."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import orjson
import pytest

from skyferry.cli import main
from skyferry.clock import SystemClock
from skyferry.ledgers.sqlite.ledger import SqliteLedger
from skyferry.model import (
    Change,
    Checksums,
    Claim,
    Failure,
    ObjectRef,
    Placement,
    Position,
    Provider,
    Receipt,
    Transfer,
)
from skyferry.ports import Dead, DeadLetter, Done, Outcome, Retry, Settlement, Skipped

DONE, SKIPPED, RETRY, DEAD, MALFORMED = (f"{n:032x}" for n in range(1, 6))
AT = 1_795_000_000.0  # 2026-11-18


@dataclass(frozen=True, slots=True)
class Result:
    """What a command said."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Standard output, which must be one document in one line."""
        assert self.out.endswith("\n")
        assert self.out.count("\n") == 1
        return orjson.loads(self.out)


Cli = Callable[..., Result]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """Runs a command in an empty folder, with `stdin` as its standard input."""
    monkeypatch.chdir(tmp_path)
    for name in [n for n in os.environ if n.startswith("SKYFERRY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("SKYFERRY_SERVER__LISTEN", "127.0.0.1:9")  # nobody listens on the discard port

    def run(*arguments: str, stdin: bytes = b"") -> Result:
        with TemporaryFile() as given:
            given.write(stdin)
            given.seek(0)
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(given))
            with pytest.raises(SystemExit) as ended:
                main(arguments)
        said = capsys.readouterr()
        return Result(int(ended.value.code or 0), said.out, said.err)

    return run


@pytest.fixture
def filled(cli: Cli) -> Cli:
    """The same with a ledger in the default workspace."""
    asyncio.run(_fill(Path("skyferry-data", "ledger.db")))
    return cli


def transfer(number: str, key: str) -> Transfer:
    source = ObjectRef(Provider.FILE, "source", key, version=f"v-{key}")
    event = f"00000000-0000-4000-8000-{number[-12:]}"
    return Transfer(
        number, "default", Change.CREATED, source, "source", "destination", key, event, event, AT, Position.at(17)
    )


async def _fill(file: Path) -> None:
    ledger = SqliteLedger(file, "test", SystemClock())
    try:
        await _settle(ledger, transfer(DONE, "report.csv"), _done)
        await _settle(ledger, transfer(SKIPPED, "report.csv"), lambda claim: Skipped("superseded"))
        await _settle(ledger, transfer(RETRY, "slow.bin"), lambda claim: Retry(1e9, _failure("throttled", False)))
        await _settle(ledger, transfer(DEAD, "secret\x1b[31m.txt"), _dead)
        await ledger.add_dead_letters(
            [DeadLetter(MALFORMED, AT - 1, "events", "unknown_format", "no JSON", "", b"\xff\x00", ())]
        )
    finally:
        await ledger.close()


async def _settle(ledger: SqliteLedger, wanted: Transfer, outcome: Callable[[Claim], Outcome]) -> None:
    [claim] = await ledger.claim([wanted])
    assert isinstance(claim, Claim)
    assert await ledger.settle([Settlement(claim, outcome(claim))]) == [True]


def _done(claim: Claim) -> Done:
    t, sums = claim.transfer, Checksums(crc32c="0a0b0c0d", sha256="ab" * 32)
    receipt = Receipt(
        t.source.version, "d-1", 2048, sums, Checksums(), Checksums(crc32c="0a0b0c0d"), t.position, AT, AT + 0.5, 1
    )
    return Done(receipt, Placement(t.store, t.key, t.source, False, (Position.at(17),), AT, "d-1", t.id, AT + 0.5))


def _dead(claim: Claim) -> Dead:
    return Dead(
        _failure("permission_denied", True), b'{"not": "empty"}', (("queue", "events"),), "give it the right to"
    )


def _failure(kind: str, counts_as_attempt: bool) -> Failure:
    return Failure(1, AT, kind, f"{kind} was the answer", counts_as_attempt)
