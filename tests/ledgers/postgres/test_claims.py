"""Claims of destinations that two workers add at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from tests.ledgers.postgres.places import PostgresHarness

from skyferry.ledgers.postgres.claims.snapshot import lock_places
from skyferry.ledgers.postgres.database import LedgerSession
from skyferry.model import Claim, State, Transfer
from skyferry.ports import Wait
from skyferry.testing.ledger.harness import transfer
from skyferry.testing.servers import PostgresServer


async def test_a_destination_that_another_worker_adds_meanwhile_is_busy(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim that found no destination is repeated if one is there when it writes."""
    harness = PostgresHarness(postgres_server)
    first, second = await harness.open("first"), await harness.open("second")
    rivals = [transfer("1", key="shared")]

    async def lock_and_lose(db: LedgerSession, transfers: Sequence[Transfer]) -> dict[Any, Any]:
        found = await lock_places(db, transfers)
        while rivals:
            assert isinstance((await second.claim([rivals.pop()]))[0], Claim)
        return found

    monkeypatch.setattr("skyferry.ledgers.postgres.claims.claims.lock_places", lock_and_lose)
    [busy, free] = await first.claim([transfer("2", key="shared"), transfer("3", key="other")])
    assert isinstance(busy, Wait)
    assert busy.busy
    assert isinstance(free, Claim)
    assert (await first.count_transfers())[State.CLAIMED] == 2
    await harness.close()
