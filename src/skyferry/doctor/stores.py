"""One store, tried."""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass, field, replace

from skyferry.doctor.check import Check, CheckSubject
from skyferry.doctor.copy_time import ReadSpeed, find_largest, time_read
from skyferry.doctor.facts import check_bucket_facts, check_clock, check_permission
from skyferry.doctor.requirements import StoreRequirements
from skyferry.engine.copy.digests import digest_bytes
from skyferry.errors import ObjectNotFound, SkyferryError, Unsupported
from skyferry.model import Attributes, ObjectMeta
from skyferry.ports import Clock, ObjectStore
from skyferry.ports.inspection import DELETE, WRITE, BucketFacts, InspectableStore, Unknown

CANARY = b"Skyferry looks whether it may write here, and removes this at once.\n"
ELSEWHERE = "--prefix says where the canary goes"
NOTHING = Unknown("this kind of store tells nothing of itself")


def make_canary_key(prefix: str, suffix: str = "") -> str:
    """A new one."""
    return f"{prefix}{secrets.token_hex(8)}{suffix}"


async def write_canary(store: ObjectStore, key: str) -> ObjectMeta:
    """Write a canary. Raises SkyferryError; then it is deleted, as it may be there and only the answer was lost."""
    try:
        return await store.write(
            key, CANARY, Attributes(content_type="text/plain"), digest_bytes(CANARY, store.traits.checksums_returned)
        )
    except BaseException:  # an interrupt too
        with suppress(SkyferryError):
            await store.delete(key)
        raise


@dataclass
class StoreExamination:
    """Of one store."""

    store: ObjectStore
    needs: StoreRequirements
    clock: Clock
    facts: BucketFacts | Unknown = NOTHING
    checks: list[Check] = field(default_factory=list)
    reached: bool = True
    paces: list[ReadSpeed] = field(default_factory=list)  # of what routes take, one for each prefix that is read

    @property
    def place(self) -> CheckSubject:
        """The store's."""
        return CheckSubject("store", self.needs.store)

    async def run(self, prefix: str | None) -> None:
        """All of it; `prefix` is where canaries may be written at a destination, None = none may."""
        await self._look()
        if not self.reached:
            return
        for each in self.needs.reads:
            await self._source(each)
        kept = "" if isinstance(self.facts, Unknown) else self.facts.kept
        if self.needs.writes and prefix is not None and not kept:
            await self._canary(make_canary_key(prefix))
        elif self.needs.writes:
            self._unwritten(f"{kept}, a canary too" if kept else "--write tries it by a canary")

    async def _look(self) -> None:
        if not isinstance(self.store, InspectableStore):
            return
        try:
            self.facts = await self.store.inspect()
        except SkyferryError as error:
            self.checks.append(self.place.failed("reach", error))
            self.reached = False
        else:
            self.checks += check_bucket_facts(self.place, self.facts, self.needs)

    async def _source(self, prefix: str) -> None:
        taken = self.needs.taken()
        try:
            found = await find_largest(self.store, prefix, taken)
        except SkyferryError as error:
            self.checks.append(self.place.failed("list", error))
            return
        self.checks.append(self.place.ok("list", prefix and f"under {prefix}"))
        try:
            if found is not None:
                pace = await time_read(self.store, found, self.clock)
                self.paces += [pace] if taken(found) else []
        except ObjectNotFound:  # deleted since
            found = None
        except Unsupported as error:  # it lies in an archive: others can be read for all that
            self.checks.append(self.place.unknown("read", f"{error.where}: {error.message}", error.hint))
            return
        except SkyferryError as error:
            self.checks.append(self.place.failed("read", error))
            return
        nothing = self.place.unknown("read", "nothing is there to read", "put an object there and ask again")
        self.checks.append(self.place.ok("read") if found else nothing)

    async def _canary(self, key: str) -> None:
        """Write, read and delete. It stays only where it may not be deleted."""
        try:
            made = await write_canary(self.store, key)
        except SkyferryError as error:
            self.checks.append(replace(denied := self.place.failed("write", error), hint=f"{denied.hint}; {ELSEWHERE}"))
            return
        self.checks.append(self.place.ok("write", "a canary"))
        if not isinstance(self.store, InspectableStore):
            self.checks.append(check_clock(self.place, made.modified - self.clock.time()))
        try:
            await self._read_back(key)
        finally:
            self.checks.append(await self._delete(key))

    async def _read_back(self, key: str) -> None:
        try:
            got = await self.store.read(key, 0, len(CANARY))
        except SkyferryError as error:
            self.checks.append(self.place.failed("read", error))
            return
        changed = self.place.wrong("read", "what was read is not what was written", "see what stands in between")
        self.checks.append(self.place.ok("read", "a canary") if got.data == CANARY else changed)

    async def _delete(self, key: str) -> Check:
        try:
            await self.store.delete(key)
        except SkyferryError as error:
            if self.needs.deletes:
                return self.place.failed("delete", error)
            said = f"no, and no route propagates deletes to it; the canary stays: {key} ({error.message})"
            return self.place.unknown("delete", said, "delete it by hand; --no-write writes none")
        return self.place.ok("delete", "a canary")

    def _unwritten(self, hint: str) -> None:
        self.checks.append(check_permission(self.place, WRITE, self.facts, hint))
        if self.needs.deletes:
            self.checks.append(check_permission(self.place, DELETE, self.facts, hint))
