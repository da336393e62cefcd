"""With `special_files: follow` a link to a file of the same folder is an object, and no link leads out."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from skyferry.errors import InvalidKey, ObjectNotFound, SkyferryError
from skyferry.stores.local.blocking.links import joined
from skyferry.stores.local.store import LocalStore


@pytest.fixture
async def following(folder: Path, reported: list[str]) -> AsyncIterator[LocalStore]:
    """On the bucket."""
    store = LocalStore("s", folder, follow=True, on_special=lambda path, kind: reported.append(path))
    yield store
    await store.close()


@pytest.fixture
def reported() -> list[str]:
    return []


@pytest.fixture
def outside(folder: Path, tmp_path: Path) -> Path:
    """Files in the bucket, and a secret beside it."""
    (folder / "d").mkdir()
    (folder / "d" / "file").write_text("inside")
    (tmp_path / "secret").write_text("outside")
    (folder / ".skyferry").mkdir()
    (folder / ".skyferry" / "own").write_text("private")
    return tmp_path


async def listed(store: LocalStore) -> list[str]:
    return [meta.key async for meta in store.list()]


@pytest.mark.parametrize("text", ["d/file", "./d/../d/file", "ABSOLUTE", "second"])
async def test_a_link_to_a_file_inside_is_that_file(
    following: LocalStore, outside: Path, folder: Path, text: str, reported: list[str]
) -> None:
    """Relative, absolute, and by another link."""
    (folder / "second").symlink_to("d/file")
    (folder / "link").symlink_to(os.path.realpath(folder / "d" / "file") if text == "ABSOLUTE" else text)
    assert await listed(following) == ["d/file", "link", "second"]
    assert (await following.read("link", 0, 10)).data == b"inside"
    found, meant = await following.head("link"), await following.head("d/file")
    assert (found.size, found.version) == (meant.size, meant.version)
    assert reported == []


@pytest.mark.parametrize(
    "text",
    ["../secret", "d/../../secret", "SECRET", "nowhere", "link", "d", ".skyferry/own", "round/file", "/dev/null"],
)
async def test_any_other_is_no_object(
    following: LocalStore, outside: Path, folder: Path, text: str, reported: list[str]
) -> None:
    """One that leads out, nowhere, to itself, to a folder, to what is private, through a folder that is a link, to a device."""
    (folder / "round").symlink_to("d")
    (folder / "link").symlink_to(outside / "secret" if text == "SECRET" else text)
    assert await listed(following) == ["d/file"]
    assert sorted(reported) == ["link", "round"]
    with pytest.raises(ObjectNotFound):
        await following.read("link", 0, 10)
    with pytest.raises(InvalidKey):  # what it hides is not known to be gone
        await following.head("link")


async def test_a_chain_without_end_is_no_object(following: LocalStore, outside: Path, folder: Path) -> None:
    for number in range(12):
        (folder / f"l{number}").symlink_to(f"l{number + 1}")
    (folder / "l12").symlink_to("d/file")
    assert "l0" not in await listed(following)
    assert "l11" in await listed(following)


async def test_a_link_to_a_folder_around_it_ends(
    following: LocalStore, outside: Path, folder: Path, reported: list[str]
) -> None:
    """Links to folders are reported, not followed, so no ring of them has to be noticed."""
    for name, leads in (("up", ".."), ("same", "."), ("self", "self"), ("down", "../d")):
        (folder / "d" / name).symlink_to(leads)
    assert await listed(following) == ["d/file"]
    assert sorted(reported) == ["d/down", "d/same", "d/self", "d/up"]


async def test_a_delete_does_not_follow(following: LocalStore, outside: Path, folder: Path) -> None:
    (folder / "link").symlink_to("d/file")
    with suppress(SkyferryError):
        await following.delete("link")
    assert (folder / "d" / "file").read_text() == "inside"


async def test_a_link_that_changes_meanwhile_leads_nowhere_else(
    following: LocalStore, outside: Path, folder: Path
) -> None:
    """The link, and the folder on its way, are swapped while they are read: nothing from outside comes."""
    (outside / "elsewhere").mkdir()
    (outside / "elsewhere" / "file").write_text("outside")
    (folder / "link").symlink_to("d/file")
    done = threading.Event()

    def swap() -> None:
        number = 0
        while not done.is_set():
            number += 1
            for text in (str(outside / "secret"), "d/file"):
                (folder / "next").symlink_to(text)
                os.rename(folder / "next", folder / "link")
            os.rename(folder / "d", folder / "aside")
            os.symlink(outside / "elsewhere", folder / "d")
            os.unlink(folder / "d")
            os.rename(folder / "aside", folder / "d")

    thread = threading.Thread(target=swap)
    thread.start()
    came = set()
    try:
        for _ in range(500):
            with suppress(SkyferryError):
                came.add((await following.read("link", 0, 10)).data)
    finally:
        done.set()
        thread.join()
    assert came <= {b"inside"}


@pytest.mark.parametrize(
    ("base", "text", "names"),
    [
        ([], "a", ["a"]),
        (["a", "b"], "../c", ["a", "c"]),
        (["a"], "../../c", None),
        (["a"], "/bucket/c/./d", ["c", "d"]),
        (["a"], "/bucketeer/c", None),
        (["a"], "/bucket/../c", None),
    ],
)
def test_where_a_link_leads(base: list[str], text: str, names: list[str] | None) -> None:
    assert joined(base, text, "/bucket") == names
