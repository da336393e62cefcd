"""A delete of exactly one version at services that know no `If-Match` there: by what a versioned bucket keeps."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from skyferry.engine.copy import verify
from skyferry.errors import ConnectionLost, ObjectNotFound, PreconditionFailed, Unsupported
from skyferry.ports import Precondition
from skyferry.stores.s3.store import S3Store
from skyferry.testing.servers.s3 import S3Place
from skyferry.testing.store_cases.place import BARE, compute_digests

Send = Callable[..., Coroutine[Any, Any, Any]]


async def put(store: S3Store, data: bytes) -> str:
    return (await store.write("k", data, BARE, compute_digests(data))).version


def interposed(store: S3Store, monkeypatch: pytest.MonkeyPatch, method: str, wanted: str, act: Send) -> None:
    """`act` runs once, just before the first such request is sent."""
    send = store._client.send
    left = [act]

    async def through(sent: str, key: str = "", **given: Any) -> Any:
        if left and sent == method and (wanted in (given.get("query") or {}) or not wanted):
            await left.pop()()
        return await send(sent, key, **given)

    monkeypatch.setattr(store._client, "send", through)


async def test_what_a_bucket_keeps_is_hidden_and_stays(s3: S3Place) -> None:
    """As at Amazon: an older version does not come back, and the one that was copied is in the history."""
    store = s3.store(await s3.bucket(versioned=True))
    await put(store, b"first")
    version = await put(store, b"second")
    assert (await store.head("k")).kept
    await verify.delete_version(store, "k", version)
    with pytest.raises(ObjectNotFound):
        await store.head("k")
    assert (await store.read("k", 0, 9, version=version)).data == b"second"
    with pytest.raises(PreconditionFailed):  # it is hidden already
        await verify.delete_version(store, "k", version)
    await store.close()


async def test_a_version_that_comes_before_the_delete_stays(s3: S3Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written after the last look at the key, and the DELETE would have hidden it."""
    store = s3.store(await s3.bucket(versioned=True))
    version = await put(store, b"first")
    interposed(store, monkeypatch, "DELETE", "", lambda: put(store, b"second"))
    with pytest.raises(PreconditionFailed):
        await verify.delete_version(store, "k", version)
    assert (await store.read("k", 0, 9)).data == b"second"
    await store.close()


async def test_a_version_stays_though_the_look_fails(s3: S3Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be seen to be the right version is brought back."""
    store = s3.store(await s3.bucket(versioned=True))
    version = await put(store, b"first")

    async def cut() -> None:
        raise ConnectionLost

    interposed(store, monkeypatch, "GET", "versions", cut)
    with pytest.raises(ConnectionLost):
        await store.delete("k", Precondition(replace=version))
    assert (await store.head("k")).version == version
    await store.close()


async def test_without_versions_there_is_no_exact_delete(s3: S3Place) -> None:
    """The engine looks just before, and says nothing exact."""
    store = s3.store(await s3.bucket())
    version = await put(store, b"first")
    assert not (await store.head("k")).kept
    with pytest.raises(Unsupported):
        await store.delete("k", Precondition(replace=version))
    newer = await put(store, b"second")
    with pytest.raises(PreconditionFailed):
        await verify.delete_version(store, "k", version)
    await verify.delete_version(store, "k", newer)
    with pytest.raises(ObjectNotFound):
        await store.head("k")
    await store.close()


async def suspend(store: S3Store) -> None:
    off = b"<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>"
    await store._client.send("PUT", query={"versioning": ""}, body=off)


async def test_a_version_stays_though_versioning_is_suspended(s3: S3Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The marker has the id null. It is written over a version that came after the last look, and removed again."""
    store = s3.store(await s3.bucket(versioned=True))
    version = await put(store, b"first")

    async def overwrite_and_suspend() -> None:
        await put(store, b"second")
        await suspend(store)

    interposed(store, monkeypatch, "DELETE", "", overwrite_and_suspend)
    with pytest.raises(PreconditionFailed):
        await verify.delete_version(store, "k", version)
    assert (await store.read("k", 0, 9)).data == b"second"
    await store.close()


async def test_a_version_from_before_the_suspension_is_hidden_and_stays(s3: S3Place) -> None:
    store = s3.store(await s3.bucket(versioned=True))
    version = await put(store, b"first")
    await suspend(store)
    await verify.delete_version(store, "k", version)
    with pytest.raises(ObjectNotFound):
        await store.head("k")
    assert (await store.read("k", 0, 9, version=version)).data == b"first"
    await store.close()
