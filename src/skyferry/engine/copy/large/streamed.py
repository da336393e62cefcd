"""Copy an object of middle size in one request, whose digest the destination checks, without having it whole in memory.

Nothing is digested here but the CRC32C: the destination compares the bytes with the digest that the source declares, which
proves both ways. A single request cannot be resumed, so only a first attempt is made in this way, and later ones go in parts.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import field

from skyferry import crcs
from skyferry.bodies import BUFFERS, BodyFailed, StreamedBody
from skyferry.engine.copy.plan import CopyPlan
from skyferry.engine.copy.race import settle_race, write_verified
from skyferry.engine.copy.receipt import Written
from skyferry.engine.copy.strategy import PartLimits, digests_of_stream
from skyferry.engine.copy.verify import verify_source
from skyferry.engine.resilience.memory_budget import MemoryBudget, Reservation
from skyferry.errors import SkyferryError
from skyferry.frozen import dataclass
from skyferry.model import Checksums, ObjectMeta
from skyferry.ports import ANY, ObjectData, Precondition, Skipped

AHEAD = 2  # pieces in memory, together as large as a part: one is sent while the next is read. Smaller ones cost the source more


class StreamedRequest:
    """Reads the object in pieces, and writes these as one request while later ones are read."""

    def __init__(self, budget: MemoryBudget, limits: PartLimits) -> None:
        self._budget, self._limits = budget, limits

    async def run(self, plan: CopyPlan) -> Written | Skipped:
        """See `Strategy`."""
        context, transfer, found = plan.context, plan.context.transfer, plan.found
        await context.attempt.slot.promote()
        declared = verify_source(transfer, found, Checksums())
        cargo = context.carry(found, found.checksums)
        sent = digests_of_stream(context.destination.traits, found.checksums)
        computed = Checksums()

        async def write(when: Precondition) -> ObjectMeta:
            nonlocal computed
            pieces = _Pieces(plan, sent, -(-self._limits.size // AHEAD), blind=when == ANY)
            try:
                body = StreamedBody(found.size, pieces.read)
                made = await context.destination.write_stream(transfer.key, body, cargo.attributes, sent, when)
            except BodyFailed as failed:
                raise failed.__cause__ or failed from None
            finally:
                await pieces.stop()
            computed = Checksums(crc32c=f"{pieces.crc:08x}")
            return made

        with Reservation(self._budget.share(transfer.source_store, transfer.store)) as memory, BUFFERS.keep():
            await memory.resize(self._limits.size)
            try:
                made = await write_verified(plan, sent, write)
            except _Needless as needless:
                made = needless.verdict
        return made if isinstance(made, Skipped) else Written(made, computed, declared, cargo.changes)


class _Needless(Exception):
    """The destination has changed, and need not be written: see `settle_race`."""

    def __init__(self, verdict: Skipped | ObjectMeta) -> None:
        super().__init__()
        self.verdict = verdict


@dataclass(slots=True)
class _Pieces:
    """Reads the pieces of one version in order, a few at the same time."""

    plan: CopyPlan
    sent: Checksums
    step: int  # bytes of a piece
    blind: bool  # the write has no precondition
    crc: int = 0  # CRC32C of what was read
    _reads: deque[asyncio.Task[ObjectData]] = field(default_factory=deque)

    async def read(self) -> AsyncIterator[bytes]:
        """Yield the pieces. Raises BodyFailed."""
        await self.stop()  # of a request that is sent again
        self.crc = 0
        found, source = self.plan.found, self.plan.context.source
        starts = iter(range(0, found.size, self.step))
        try:
            while True:
                while len(self._reads) < AHEAD and (start := next(starts, None)) is not None:
                    reading = source.read(found.key, start, self.step, version=found.version)
                    self._reads.append(asyncio.ensure_future(reading))
                data = (await self._reads[0]).data
                self._reads.popleft()
                self.crc = crcs.crc32c(data, self.crc)
                if not self._reads:
                    await self._look_again()
                    yield data
                    return
                yield data
                del data
        except (SkyferryError, _Needless) as error:
            raise BodyFailed from error

    async def stop(self) -> None:
        """Cancel the reads in progress."""
        for reading in self._reads:
            reading.cancel()
        await asyncio.gather(*self._reads, return_exceptions=True)
        self._reads.clear()

    async def _look_again(self) -> None:
        """Before the last piece makes the object visible, look at a destination that does not know the precondition."""
        context = self.plan.context
        context.attempt.ensure_lease_held()
        if self.blind:
            verdict = await settle_race(self.plan, self.sent)
            if not isinstance(verdict, Precondition):
                raise _Needless(verdict)
