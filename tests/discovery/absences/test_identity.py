"""The identity of a folder."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from skyferry.discovery.absences import identity
from skyferry.discovery.absences.identity import Identity, mark_folder, read_identity
from skyferry.discovery.known_folder import KnownFolder
from skyferry.errors import StoreUnavailable
from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.ports import Clock

SOURCE = "file://bucket"


@pytest.fixture
def ledger(clock: Clock) -> MemoryLedger:
    return MemoryLedger("me", clock)


@pytest.fixture
def known(folder: Path, ledger: MemoryLedger) -> KnownFolder:
    return KnownFolder(folder, SOURCE, ledger)


def test_a_marker_is_made_once_and_read_by_all(folder: Path) -> None:
    before = read_identity(folder)
    assert before is not None
    assert before.marker == ""
    found = mark_folder(folder)
    assert found is not None
    assert len(found.marker) == 32
    assert mark_folder(folder) == read_identity(folder) == found
    assert Identity.parse(str(found)) == found
    assert os.listdir(folder / ".skyferry") == ["identity"]


@pytest.mark.parametrize("content", [b"", b"short", b"../" * 40, b"\xff" * 32])
def test_a_marker_that_is_none_counts_as_missing(folder: Path, content: bytes) -> None:
    (folder / ".skyferry").mkdir()
    (folder / ".skyferry/identity").write_bytes(content)
    found = mark_folder(folder)
    assert found is not None
    assert found.marker == ""


def test_a_link_is_no_marker(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("0" * 32)
    (folder / ".skyferry").mkdir()
    (folder / ".skyferry/identity").symlink_to(tmp_path / "elsewhere")
    found = read_identity(folder)
    assert found is not None
    assert found.marker == ""


def test_without_a_marker_device_and_inode_are_compared() -> None:
    assert Identity("", 1, 2).is_same(Identity("0" * 32, 1, 2))
    assert not Identity("", 1, 2).is_same(Identity("", 1, 3))
    assert not Identity("0" * 32, 1, 2).is_same(Identity("", 1, 2)), "an inode is given away again"
    assert Identity("0" * 32, 1, 2).is_same(Identity("0" * 32, 9, 9)), "a reboot renumbers devices"


def test_what_is_no_folder_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert (
        read_identity(tmp_path / "missing")
        is read_identity(tmp_path / "file")
        is mark_folder(tmp_path / "missing")
        is None
    )


async def test_a_folder_that_nothing_is_known_of_is_the_same(known: KnownFolder, folder: Path) -> None:
    assert not await known.is_known()
    assert await known.is_same()
    folder.rmdir()
    assert not await known.is_same()


async def test_another_folder_is_not_the_same_until_it_is_accepted(
    known: KnownFolder, folder: Path, ledger: MemoryLedger
) -> None:
    await known.accept_identity()
    other = KnownFolder(folder, SOURCE, ledger)
    assert await known.is_known()
    folder.rename(folder.with_name("elsewhere"))
    folder.mkdir()
    assert not await known.is_same()
    await other.accept_identity()
    assert await known.is_same(), "another process may accept it"


async def test_a_folder_is_the_same_after_a_move_and_as_a_copy(
    known: KnownFolder, folder: Path, ledger: MemoryLedger
) -> None:
    await known.accept_identity()
    shutil.copytree(folder, folder.with_name("copy"))
    shutil.rmtree(folder)
    folder.with_name("copy").rename(folder)
    assert await known.is_same()
    assert await KnownFolder(folder, SOURCE, ledger).is_same()


async def test_a_marker_that_is_removed_does_no_harm_while_we_run(
    known: KnownFolder, folder: Path, ledger: MemoryLedger
) -> None:
    await known.accept_identity()
    shutil.rmtree(folder / ".skyferry")
    assert await known.is_same()
    assert not await KnownFolder(folder, SOURCE, ledger).is_same()


async def test_what_was_mounted_in_the_folder_and_is_not_is_known_until_a_person_decides(
    known: KnownFolder, folder: Path, ledger: MemoryLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "mountinfo"
    monkeypatch.setattr(identity, "MOUNTS", str(table))
    line = "36 35 98:0 / {} rw,noatime master:1 - ext4 /dev/x rw\n"
    table.write_text(line.format(f"{folder}/a\\040disk") + line.format("/elsewhere") + line.format(folder))
    await known.accept_identity()
    now = read_identity(folder)
    assert now is not None
    assert now.mounts == ("a disk",)
    table.write_text(line.format("/elsewhere"))
    for each in (known, KnownFolder(folder, SOURCE, ledger)):
        assert await each.is_same()
        assert not await each.is_same("a disk/key")
        assert await each.is_same("a diskette")
        assert await each.find_unmounted(["a disk/key", "a diskette", "b"]) == {"a disk/key"}
        await each.accept_identity()
    await ledger.set_identity(SOURCE, "")
    assert await known.is_same("a disk/key")


async def test_a_folder_that_cannot_be_looked_at_is_not_another_one(
    known: KnownFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Want of file descriptors says nothing about it."""
    await known.accept_identity()

    def refuse(*arguments: object, **options: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("skyferry.discovery.absences.identity.os.open", refuse)
    with pytest.raises(StoreUnavailable, match="Too many open files"):
        await known.is_same()
