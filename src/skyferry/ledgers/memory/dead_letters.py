"""Dead letters in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import inf

from skyferry.ledgers import rules
from skyferry.ledgers.filters import matches_letter
from skyferry.ledgers.memory.state import LedgerPart, MemoryLetter, take_page
from skyferry.model import State
from skyferry.ports import DeadLetter, DeadLetterRef, Filter, Page, Purpose
from skyferry.ports.ledger.dead_letters import parse_source_bucket


class MemoryDeadLetters(LedgerPart):
    """The `DeadLetters` and `LetterLeases` parts of a ledger."""

    async def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        await self._step()
        for letter in letters:
            self._state.add_letter(letter)

    async def get_dead_letter(self, letter_id: str) -> DeadLetter | None:
        await self._step()
        kept = self._state.letters.get(letter_id)
        return kept.letter if kept else None

    async def list_dead_letters(self, where: Filter, cursor: str = "", limit: int = 100) -> Page[DeadLetter]:
        await self._step()
        kept, more = take_page(self._find(where, None), lambda kept: kept.letter.at, cursor, limit)
        return Page([k.letter for k in kept], more)

    async def count_dead_letters(self) -> list[tuple[str, str, int]]:
        await self._step()
        groups = Counter((kept.letter.route, kept.letter.reason) for kept in self._state.letters.values())
        return sorted(((*group, count) for group, count in groups.items()), key=lambda g: (-g[2], g[0], g[1]))

    async def count_unrouted(self, limit: int = 20) -> list[tuple[str, int]]:
        await self._step()
        letters = (kept.letter for kept in self._state.letters.values())
        groups = Counter(parse_source_bucket(each.source) for each in letters if each.reason == rules.UNROUTED)
        return sorted(groups.items(), key=lambda group: (-group[1], group[0]))[:limit]

    async def count_redriven(self) -> int:
        await self._step()
        return sum(kept.letter.redriven_at is not None for kept in self._state.letters.values())

    async def redrive(self, where: Filter, ids: Sequence[str] | None = None) -> int:
        await self._step()
        now = self._clock.time()
        found = [kept for kept in self._find(where, ids) if kept.letter.redriven_at is None]
        for kept in found:
            kept.letter, kept.redrive_at = replace(kept.letter, redriven_at=now), now
            row = self._state.rows.get(kept.letter.id)
            if row and row.state is State.DEAD:
                row.state, row.due_at, row.updated_at, row.burned, row.lost = State.RETRY, now, now, 0, 0
        return len(found)

    async def discard(self, where: Filter, ids: Sequence[str] | None = None) -> int:
        await self._step()
        count = 0
        for kept in self._find(where, ids):
            row = self._state.rows.get(kept.letter.id)
            if row and row.state is State.CLAIMED:
                continue
            if row and row.state in (State.DEAD, State.RETRY):
                row.state, row.due_at, row.updated_at = State.DISCARDED, None, self._clock.time()
            del self._state.letters[kept.letter.id]
            count += 1
        return count

    async def take_letters(self, purpose: Purpose, limit: int, lease: float) -> list[DeadLetter]:
        await self._step()
        now = self._clock.time()
        redriven = purpose is Purpose.REDRIVE
        of_purpose = [k for k in self._state.letters.values() if (k.letter.redriven_at is not None) is redriven]
        due = [kept for kept in of_purpose if _due_at(kept, purpose) <= now]
        taken = sorted(due, key=lambda kept: (_due_at(kept, purpose), kept.serial))[:limit]
        for kept in taken:
            _set_due_at(kept, purpose, now + lease)
        return [kept.letter for kept in taken]

    async def finish_letters(self, purpose: Purpose, letters: Sequence[DeadLetterRef]) -> None:
        await self._step()
        for kept in self._find_current(purpose, letters):
            if purpose is Purpose.REDRIVE:
                del self._state.letters[kept.letter.id]
            else:
                kept.publish_at = inf

    async def reschedule_letters(self, purpose: Purpose, letters: Sequence[DeadLetterRef], delay: float) -> None:
        await self._step()
        for kept in self._find_current(purpose, letters):
            _set_due_at(kept, purpose, self._clock.time() + delay)

    def _find(self, where: Filter, ids: Sequence[str] | None) -> list[MemoryLetter]:
        letters = self._state.letters
        among = letters.values() if ids is None else [letters[name] for name in dict.fromkeys(ids) if name in letters]
        now = self._clock.time()
        return [kept for kept in among if matches_letter(kept.letter, where, now)]

    def _find_current(self, purpose: Purpose, letters: Sequence[DeadLetterRef]) -> Iterator[MemoryLetter]:
        """Find the letters whose reference is up to date and whose purpose is not fulfilled."""
        for ref in letters:
            kept = self._state.letters.get(ref.id)
            if kept is None or kept.letter.at != ref.at:
                continue
            if kept.publish_at < inf if purpose is Purpose.PUBLISH else kept.letter.redriven_at is not None:
                yield kept


def _due_at(kept: MemoryLetter, purpose: Purpose) -> float:
    return kept.redrive_at if purpose is Purpose.REDRIVE else kept.publish_at


def _set_due_at(kept: MemoryLetter, purpose: Purpose, at: float) -> None:
    if purpose is Purpose.REDRIVE:
        kept.redrive_at = at
    else:
        kept.publish_at = at
