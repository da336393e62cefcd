"""Whatever is done to them, the local store, the memory store and a plain dict agree."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from skyferry.clock import SystemClock
from skyferry.errors import InvalidKey, ObjectNotFound, PreconditionFailed, SkyferryError
from skyferry.model import Attributes
from skyferry.ports import Precondition
from skyferry.stores.local.names import path_of
from skyferry.stores.local.store import LocalStore
from skyferry.stores.memory import MemoryStore
from skyferry.testing.store_cases.place import compute_digests, split_parts

T = TypeVar("T")
KEYS = st.sampled_from(
    [
        "a",
        "a/b",
        "a/",
        "a//",
        "a/b/c",
        "a-b",
        "b",
        "%",
        "%%",
        "/",
        "/a",
        "..",
        "../a",
        ".",
        ".skyferry",
        "é",
        "z/%",
        "z/",
    ]
)
MARKS = st.sampled_from(["", "a", "a/", "a/b", "a-", "/", ".", "%", "\u00e9", "z/"])
DATA = st.binary(max_size=40)
WHEN = st.sampled_from(["any", "create", "current", "stale"])
STALE = "0-0-0"


class Stores(RuleBasedStateMachine):
    """Every step is made on all three."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        self.stores: tuple[LocalStore | MemoryStore, ...] = (
            LocalStore("local", self.folder, threads=2),
            MemoryStore("memory", SystemClock()),
        )
        self.objects: dict[str, tuple[bytes, str]] = {}  # key -> bytes, content type
        self.versions: dict[str, list[str]] = {}  # key -> version in each store

    def teardown(self) -> None:
        for store in self.stores:
            self.do(store.close())
        self.runner.close()
        shutil.rmtree(self.folder)

    def do(self, call: Coroutine[Any, Any, T]) -> T:
        """Run it."""
        return self.runner.run(call)

    def held_back(self, key: str) -> bool:
        """Whether a filesystem cannot hold it beside what is there."""
        path = path_of(key)
        return any(known.startswith(f"{path}/") or path.startswith(f"{known}/") for known in map(path_of, self.objects))

    def when(self, kind: str, key: str, store: int) -> Precondition:
        """The precondition in the words of one store."""
        current = self.versions[key][store] if key in self.versions else STALE
        return {
            "any": Precondition(),
            "create": Precondition(create_only=True),
            "current": Precondition(replace=current),
            "stale": Precondition(replace=STALE),
        }[kind]

    def allowed(self, kind: str, key: str) -> bool:
        """Whether it holds."""
        return kind == "any" or kind == ("current" if key in self.objects else "create")

    def outcome(self, call: Coroutine[Any, Any, T]) -> T | type[SkyferryError]:
        """The result, or the kind of error."""
        try:
            return self.do(call)
        except SkyferryError as error:
            return type(error)

    def wrote(self, key: str, data: bytes, kind: str, results: list[Any]) -> None:
        """Compare with what the dict says."""
        if not self.allowed(kind, key):
            assert results == [PreconditionFailed] * 2, results
            return
        assert not any(isinstance(result, type) for result in results), results
        self.objects[key] = (data, str(len(data)))
        self.versions[key] = [result.version for result in results]

    @rule(key=KEYS, data=DATA, kind=WHEN)
    def write(self, key: str, data: bytes, kind: str) -> None:
        """Whole."""
        if self.held_back(key):
            call = self.stores[0].write(key, data, Attributes(), compute_digests(data))
            assert self.outcome(call) is InvalidKey
            return
        carried = Attributes(content_type=str(len(data)))
        results = [
            self.outcome(store.write(key, data, carried, compute_digests(data), self.when(kind, key, n)))
            for n, store in enumerate(self.stores)
        ]
        self.wrote(key, data, kind, results)

    @rule(key=KEYS, data=st.binary(min_size=1, max_size=40), kind=WHEN, ending=st.sampled_from(["finish", "abort"]))
    def upload(self, key: str, data: bytes, kind: str, ending: str) -> None:
        """In parts."""
        if self.held_back(key):
            return
        results = []
        for n, store in enumerate(self.stores):
            upload = self.do(store.start_upload(key, len(data), 7, Attributes(content_type=str(len(data)))))
            parts = [self.do(store.write_part(upload, *piece)) for piece in reversed(split_parts(upload, data))]
            if ending == "finish":
                call = store.finish_upload(upload, parts, compute_digests(data), self.when(kind, key, n))
                results.append(self.outcome(call))
            self.do(store.abort_upload(upload))
        if results:
            self.wrote(key, data, kind, results)

    @rule(key=KEYS, kind=WHEN.filter(lambda kind: kind != "create"))
    def delete(self, key: str, kind: str) -> None:
        """With and without a precondition."""
        results = [self.outcome(store.delete(key, self.when(kind, key, n))) for n, store in enumerate(self.stores)]
        if self.allowed(kind, key):
            assert results == [None, None]
            self.objects.pop(key, None)
            self.versions.pop(key, None)
        else:
            assert results == [PreconditionFailed] * 2

    @rule(key=KEYS, start=st.integers(0, 50), length=st.integers(0, 50), pinned=st.booleans())
    def read(self, key: str, start: int, length: int, pinned: bool) -> None:
        """A range."""
        for n, store in enumerate(self.stores):
            version = self.versions[key][n] if pinned and key in self.versions else ""
            got = self.outcome(store.read(key, start, length, version=version))
            if key not in self.objects:
                assert got is ObjectNotFound
                continue
            data, content_type = self.objects[key]
            assert not isinstance(got, type)
            assert got.data == data[start : start + length]
            assert (got.meta.size, got.meta.version) == (len(data), self.versions[key][n])
            assert got.meta.attributes == Attributes(content_type=content_type)
            assert got.meta.checksums.crc32c == compute_digests(data).crc32c

    @rule(prefix=MARKS, after=MARKS)
    def listing(self, prefix: str, after: str) -> None:
        """Some."""
        self.listed(prefix, after)

    @invariant()
    def all_agree(self) -> None:
        """All."""
        self.listed("", "")

    def listed(self, prefix: str, after: str) -> None:
        """Compare."""
        wanted = sorted(k for k in self.objects if k.startswith(prefix) and k.encode() > after.encode())

        async def keys(store: LocalStore | MemoryStore) -> list[str]:
            return [meta.key async for meta in store.list(prefix, after)]

        for store in self.stores:
            assert self.do(keys(store)) == wanted


Stores.TestCase.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestStores = Stores.TestCase
