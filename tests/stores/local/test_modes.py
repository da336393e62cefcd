"""Permissions go from folder to folder, and nothing is more open on the way than where it came from."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from stat import S_IMODE

import pytest

from skyferry.model import Attributes, Checksums
from skyferry.ports import ANY, Part
from skyferry.stores.local.blocking.files import BY_UMASK, folder_modes, umask
from skyferry.stores.local.store import LocalStore
from skyferry.testing.store_cases.place import compute_digests


@pytest.fixture
async def source(tmp_path: Path) -> AsyncIterator[LocalStore]:
    """Another folder."""
    (tmp_path / "source").mkdir()
    store = LocalStore("source", tmp_path / "source")
    yield store
    await store.close()


def mode(path: Path) -> int:
    """All bits, also those that let it run as its owner."""
    return S_IMODE(path.stat().st_mode)


async def copied(source: LocalStore, store: LocalStore, key: str, to: str = "") -> None:
    """By what the engine hands on."""
    got = await source.read(key, 0, 100)
    await store.write(to or key, got.data, got.meta.attributes, Checksums())


@pytest.mark.parametrize("bits", [0o600, 0o640, 0o644, 0o755, 0o444])
async def test_a_file_has_the_permissions_that_it_had(
    source: LocalStore, store: LocalStore, folder: Path, tmp_path: Path, bits: int
) -> None:
    (tmp_path / "source" / "k").write_bytes(b"x")
    (tmp_path / "source" / "k").chmod(bits)
    await copied(source, store, "k")
    assert mode(folder / "k") == bits


async def test_nothing_runs_as_its_owner(source: LocalStore, store: LocalStore, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "source" / "k").write_bytes(b"x")
    (tmp_path / "source" / "k").chmod(0o6755)
    await copied(source, store, "k")
    assert mode(folder / "k") == 0o755


async def test_folders_have_the_permissions_that_they_had(
    source: LocalStore, store: LocalStore, folder: Path, tmp_path: Path
) -> None:
    inner = tmp_path / "source" / "open" / "closed"
    inner.mkdir(parents=True)
    (inner / "k").write_bytes(b"x")
    inner.chmod(0o700)
    inner.parent.chmod(0o777)
    await copied(source, store, "open/closed/k")
    assert (mode(folder / "open"), mode(folder / "open" / "closed")) == (0o777, 0o700)


async def test_folders_that_are_others_are_never_more_open(
    source: LocalStore, store: LocalStore, folder: Path, tmp_path: Path
) -> None:
    """As where a route gives objects another key."""
    (tmp_path / "source" / "closed").mkdir(mode=0o700)
    (tmp_path / "source" / "closed" / "k").write_bytes(b"x")
    await copied(source, store, "closed/k", "2026/11/k")
    assert (mode(folder / "2026"), mode(folder / "2026" / "11")) == (0o700, 0o700)


async def test_what_comes_from_elsewhere_has_what_the_umask_gives(store: LocalStore, folder: Path) -> None:
    await store.write("d/k", b"x", Attributes(), Checksums())
    assert (mode(folder / "d" / "k"), mode(folder / "d")) == (0o666 & ~umask(), 0o777 & ~umask())
    assert umask() == os.umask(umask())  # as the system has it


async def test_what_is_being_written_is_private(source: LocalStore, store: LocalStore, folder: Path) -> None:
    """The parts of a large object that will be public, and the folder of locks and temporary files."""
    attributes = Attributes(modes=(0o644,))
    upload = await store.start_upload("k", 4, 4, attributes)
    (temporary,) = (folder / ".skyferry" / "tmp").iterdir()
    await store.write_part(upload, 1, b"data", compute_digests(b"data").crc32c)
    assert (mode(temporary), mode(folder / ".skyferry")) == (0o600, 0o700)
    crc = compute_digests(b"data").crc32c
    await store.finish_upload(upload, [Part(1, 0, 4, crc, crc)], compute_digests(b"data"), ANY)
    assert mode(folder / "k") == 0o644


async def test_the_private_folder_of_an_earlier_version_is_closed(folder: Path) -> None:
    """It was open to all: anyone could take the locks, and no copy came through."""
    (folder / ".skyferry").mkdir(mode=0o755)
    (folder / ".skyferry").chmod(0o755)
    store = LocalStore("s", folder)
    try:
        await store.write("k", b"x", Attributes(), Checksums())
    finally:
        await store.close()
    assert mode(folder / ".skyferry") == 0o700


@pytest.mark.parametrize(
    ("known", "wanted", "modes"),
    [
        ((), 2, [BY_UMASK, BY_UMASK]),
        ((0o755, 0o750), 2, [0o755, 0o750]),
        ((0o755, 0o750), 1, [0o750]),
        ((0o755, 0o700), 3, [0o700, 0o700, 0o700]),
        ((0o055,), 1, [0o755]),  # we must be able to write there
        ((0o755,), 0, []),
    ],
)
def test_the_permissions_of_new_folders(known: tuple[int, ...], wanted: int, modes: list[int]) -> None:
    assert list(folder_modes(known, wanted)) == modes
