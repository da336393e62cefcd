"""The doctor tries what Skyferry relies on, names what is not so, and leaves nothing behind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from skyferry.doctor.check import CheckState
from skyferry.doctor.requirements import StoreRequirements
from skyferry.doctor.stores import StoreExamination
from skyferry.errors import Unsupported
from skyferry.model import Checksums, ObjectMeta
from skyferry.ports import ANY, Precondition
from skyferry.stores.memory import MemoryStore
from skyferry.testing.clock import ManualClock


class Server(MemoryStore):
    """Ignores some of what it is asked, as an older server or another one does."""

    ignores: frozenset[str] = frozenset()

    async def write(
        self, key: str, data: bytes, attributes: Any, checksums: Any, when: Precondition = ANY
    ) -> ObjectMeta:
        if "unknown" in self.ignores and when != ANY:
            raise Unsupported("A header you provided implies functionality that is not implemented")
        when = Precondition(
            when.create_only and "create_only" not in self.ignores, "" if "replace" in self.ignores else when.replace
        )
        made = await super().write(
            key, data, attributes, Checksums() if "checksums" in self.ignores else checksums, when
        )
        return replace(made, checksums=Checksums()) if "returned" in self.ignores else made


async def examine(store: Server) -> tuple[CheckState, str, str]:
    needs = StoreRequirements("copies", writes=True)
    examination = StoreExamination(store, needs, store._clock)
    await examination.run("canaries/")
    (check,) = [each for each in examination.checks if each.name == "promises"]
    assert [meta async for meta in store.list()] == []
    return check.state, check.detail, check.hint


@pytest.fixture
def server() -> Server:
    return Server("copies", ManualClock())


async def test_a_server_that_does_all_of_it_is_right(server: Server) -> None:
    assert (await examine(server))[:2] == (CheckState.OK, "create only, replace exactly, refused crc32c")


@pytest.mark.parametrize(
    ("ignores", "said"),
    [
        ("create_only", "create only: the service wrote over an object that was there"),
        ("replace", "replace exactly: the service wrote over a version that was gone"),
        ("returned", "returned checksums: the answer to a write has none of crc32c"),
        ("unknown", "create only: expected PreconditionFailed, but Unsupported came: A header"),
    ],
)
async def test_what_a_server_ignores_is_named(server: Server, ignores: str, said: str) -> None:
    server.ignores = frozenset({ignores})
    state, detail, hint = await examine(server)
    assert state is CheckState.WRONG
    assert detail.startswith(said)
    assert "`other`" in hint


async def test_damage_that_is_not_refused_but_would_be_found_is_no_fault(server: Server) -> None:
    server.ignores = frozenset({"checksums"})
    state, detail, _ = await examine(server)
    assert (state, detail) == (
        CheckState.UNKNOWN,
        "refused crc32c: the service accepted bytes that differ from their checksum",
    )


async def test_what_is_not_relied_on_is_not_tried(server: Server) -> None:
    server.traits = replace(server.traits, create_only=False, replace_exact=False)
    server.ignores = frozenset({"create_only", "replace", "unknown"})
    assert (await examine(server))[:2] == (CheckState.OK, "refused crc32c")
