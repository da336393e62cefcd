"""Orphans are settled under a lease, like any other transfer."""

from __future__ import annotations

import random

from tests.engine.lab import Lab

from skyferry.engine.consume.attempt import OpenUploads
from skyferry.engine.context import EngineContext
from skyferry.engine.orphans import UNCHANGED, LocalTransfers, OrphanSettler
from skyferry.model import Claim, Transfer
from skyferry.ports import Settlement, Skipped
from skyferry.ports.ledger import Released
from skyferry.testing.ledger.harness import transfer
from skyferry.testing.ledger.uploads import make_progress


async def test_no_upload_is_aborted_after_the_lease() -> None:
    """The upload of an orphan may be another worker's by then. It stays in the ledger."""
    lab, aborted = Lab(), []
    ledger = lab.ledger()
    orphans = [transfer("a"), transfer("b")]
    claims = [answer for answer in await ledger.claim(orphans) if isinstance(answer, Claim)]
    await ledger.save_progress([(claim, make_progress(claim)) for claim in claims])
    await ledger.settle([Settlement(claim, Released()) for claim in claims])
    await lab.clock.advance(UNCHANGED + 1)

    async def abort(of: Transfer, uploads: OpenUploads) -> None:
        aborted.append(of.id)
        await lab.clock.advance(ledger.lease)  # so long the store takes for the first

    context = EngineContext(ledger, {}, {}, lab.clock, random.Random(1), lab)
    local = LocalTransfers(lambda _: False, lambda _: False, {"to"}, abort)
    assert await OrphanSettler(context, local).settle_page() == 2
    assert len(aborted) == 1
    rows = [await ledger.get_transfer(t.id) for t in orphans]
    assert {row.reason for row in rows if row} == {Skipped("no_route").reason}
    assert len([upload async for upload in ledger.list_uploads()]) == 2
