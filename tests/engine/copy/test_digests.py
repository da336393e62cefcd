"""Digests of whole objects."""

from __future__ import annotations

import hashlib

import pytest

from skyferry.engine.copy.digests import HASHES, STEP, UNINTERRUPTED, digest_bytes

SIZES = [0, 1, STEP - 1, STEP, STEP + 1, 2 * STEP, 4096, UNINTERRUPTED, UNINTERRUPTED + 1]


class RecordedHash:
    """A hash that records the sizes of what it gets."""

    def __init__(self, kind: str, data: bytes, sizes: list[int]) -> None:
        self._hash, self._sizes = getattr(hashlib, kind)(data), sizes
        sizes.append(len(data))

    def update(self, data: bytes) -> None:
        self._hash.update(data)
        self._sizes.append(len(data))

    def hexdigest(self) -> str:
        return str(self._hash.hexdigest())


@pytest.mark.parametrize("size", SIZES)
def test_digests_are_those_of_all_bytes(size: int) -> None:
    data = bytes(n * 7 % 256 for n in range(size))

    found = digest_bytes(data, frozenset({"md5"}))

    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert found.md5 == hashlib.md5(data, usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("size", [4096, UNINTERRUPTED])
def test_hashes_of_small_data_keep_the_lock_of_the_interpreter(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """hashlib releases it for 2,048 bytes and more (HASHLIB_GIL_MINSIZE): then the event loop waits for other threads."""
    sizes: list[int] = []
    for kind in ("sha256", "md5"):
        monkeypatch.setitem(HASHES, kind, lambda data, kind=kind, **_: RecordedHash(kind, data, sizes))

    digest_bytes(bytes(size), frozenset({"md5"}))

    assert sum(sizes) == 2 * size
    assert max(sizes) < 2048
