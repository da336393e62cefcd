"""Try one store."""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass, field, replace

from skyferry.doctor.check import Check, CheckSubject
from skyferry.doctor.copy_time import ReadSpeed, find_largest, time_read
from skyferry.doctor.facts import check_bucket_facts, check_clock, check_permission
from skyferry.doctor.promises import PromiseTrial
from skyferry.doctor.requirements import StoreRequirements
from skyferry.engine.copy.digests import digest_bytes
from skyferry.errors import ObjectNotFound, SkyferryError, Unsupported
from skyferry.model import Attributes, ObjectMeta
from skyferry.ports import Clock, ObjectStore
from skyferry.ports.inspection import DELETE, WRITE, BucketFacts, InspectableStore, Unknown

CANARY = b"Skyferry looks whether it may write here, and removes this at once.\n"
ELSEWHERE = "Use --prefix for another place of the canary."
NOTHING = Unknown("this kind of store reports no facts")


def make_canary_key(prefix: str, suffix: str = "") -> str:
    """Return a new key."""
    return f"{prefix}{secrets.token_hex(8)}{suffix}"


async def write_canary(store: ObjectStore, key: str) -> ObjectMeta:
    """Write a canary. Raises SkyferryError, after a delete: the canary may exist although the response was lost."""
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
    """The checks of one store."""

    store: ObjectStore
    needs: StoreRequirements
    clock: Clock
    facts: BucketFacts | Unknown = NOTHING
    checks: list[Check] = field(default_factory=list)
    reached: bool = True
    paces: list[ReadSpeed] = field(default_factory=list)  # of what routes take, one for each prefix that is read

    @property
    def place(self) -> CheckSubject:
        """The store under check."""
        return CheckSubject("store", self.needs.store)

    async def run(self, prefix: str | None) -> None:
        """Run all checks. `prefix` is for canaries at a destination; None = write none."""
        await self._look()
        if not self.reached:
            return
        for each in self.needs.reads:
            await self._source(each)
        kept = "" if isinstance(self.facts, Unknown) else self.facts.kept
        if self.needs.writes and prefix is not None and not kept:
            await self._canary(make_canary_key(prefix))
        elif self.needs.writes:
            self._unwritten(
                f"{kept}, which includes canaries" if kept else "Run without --no-write to try it with a canary."
            )

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
        except Unsupported as error:  # it is archived; other objects may be readable
            self.checks.append(self.place.unknown("read", f"{error.where}: {error.message}", error.hint))
            return
        except SkyferryError as error:
            self.checks.append(self.place.failed("read", error))
            return
        nothing = self.place.unknown(
            "read", "there is no object to read", "Write an object there, and repeat the check."
        )
        self.checks.append(self.place.ok("read") if found else nothing)

    async def _canary(self, key: str) -> None:
        """Write, read and delete a canary. It stays only if the delete is denied."""
        try:
            made = await write_canary(self.store, key)
        except SkyferryError as error:
            denied = self.place.failed("write", error)
            self.checks.append(replace(denied, hint=f"{denied.hint.removesuffix('.')}. {ELSEWHERE}"))
            return
        self.checks.append(self.place.ok("write", "a canary"))
        if not isinstance(self.store, InspectableStore):
            self.checks.append(check_clock(self.place, made.modified - self.clock.time()))
        try:
            await self._read_back(key)
            self.checks.append(await PromiseTrial(self.store, key, made, CANARY).check(self.place))
        finally:
            self.checks.append(await self._delete(key))

    async def _read_back(self, key: str) -> None:
        try:
            got = await self.store.read(key, 0, len(CANARY))
        except SkyferryError as error:
            self.checks.append(self.place.failed("read", error))
            return
        changed = self.place.wrong(
            "read", "the content read differs from the content written", "Look for a proxy that changes responses."
        )
        self.checks.append(self.place.ok("read", "a canary") if got.data == CANARY else changed)

    async def _delete(self, key: str) -> Check:
        try:
            await self.store.delete(key)
        except SkyferryError as error:
            if self.needs.deletes:
                return self.place.failed("delete", error)
            said = f"denied, and no route propagates deletes to it; the canary remains: {key} ({error.message})"
            return self.place.unknown("delete", said, "Delete it by hand; use --no-write to write none.")
        return self.place.ok("delete", "a canary")

    def _unwritten(self, hint: str) -> None:
        self.checks.append(check_permission(self.place, WRITE, self.facts, hint))
        if self.needs.deletes:
            self.checks.append(check_permission(self.place, DELETE, self.facts, hint))
