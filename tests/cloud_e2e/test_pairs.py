"""Every ordered pair of folder, S3, Cloud Storage and Azure, compared afterwards by clients that are not ours."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import product

import pytest
from tests.cloud_e2e.buckets import Bucket, Clouds, Folder, Item
from tests.cloud_e2e.conftest import Skyferry

KINDS = ("file", "s3", "gcs", "azure")
LONG = "/".join(["long", *("x" * 200 for _ in range(4)), "é" * 107 + "x"])  # 1,024 bytes
AWKWARD = (
    *("a b", "a+b", "a%20b", "100%", "%41", "q?x=1&y=2#z", "'quote' \"too\"", "ü/☃", "😀", "double//slash", "trail/"),
    *(
        "-dash",
        "~tilde",
        ".hidden/x",
        "a/b/c/d/e",
        "semi;colon",
        "[brackets]",
        "{braces}",
        "a=b,c",
        "comma,",
        "$var",
        LONG,
    ),
)
SIZES = (0, 1, 4095, 65536, 300_000)
MARKER = "trail/"  # the empty one
LARGE = 9 * 2**20 + 1  # bytes: two parts


def noise(seed: str, size: int) -> bytes:
    return hashlib.shake_128(seed.encode()).digest(size)


def objects() -> dict[str, Item]:
    """40 of them."""
    keys = [*AWKWARD, *(f"plain/{n:02}.bin" for n in range(39 - len(AWKWARD)))]
    made = {
        key: Item(noise(key, SIZES[n % len(SIZES)]), "text/x-awkward", {"color": "deep blue", "n": str(n)})
        for n, key in enumerate(keys)
    }
    return made | {"plain/large": Item(noise("large", LARGE), "video/mp4", {"color": "red"})}


@pytest.fixture(scope="session")
def sources(clouds: Clouds) -> dict[str, Bucket]:
    """One of each kind, filled by its own client."""
    made = {kind: clouds.bucket(kind) for kind in KINDS}
    for bucket in made.values():
        for key, item in objects().items():
            bucket.put(key, item)
    return made


@pytest.mark.parametrize(("one", "other"), list(product(KINDS, KINDS)))
def test_everything_arrives_as_it_was(
    clouds: Clouds, sources: dict[str, Bucket], skyferry: Skyferry, one: str, other: str
) -> None:
    """Bytes and keys always; content type and metadata where both ends show them to others."""
    destination = clouds.bucket(other)
    told = skyferry("copy", sources[one].url, destination.url, "--json")
    arrived, wanted = destination.items(), objects()
    if isinstance(destination, Folder):  # a folder marker makes a folder there
        del wanted[MARKER]
        assert (destination.path / MARKER).is_dir()
    assert (told["complete"], told["objects"]["copied"]) == (True, len(wanted))
    assert sorted(arrived) == sorted(wanted)
    assert [key for key in wanted if arrived[key].data != wanted[key].data] == []
    if sources[one].carries and destination.carries:
        assert [(k, arrived[k]) for k in wanted if arrived[k] != wanted[k]] == []


def test_metadata_survive_a_folder(clouds: Clouds, sources: dict[str, Bucket], skyferry: Skyferry) -> None:
    """From S3 to a folder, and back from there."""
    between, back = clouds.bucket("file"), clouds.bucket("s3")
    skyferry("copy", sources["s3"].url, between.url, "--json")
    told = skyferry("copy", between.url, back.url, "--json")
    arrived = back.items()
    bare = {k: replace(i, metadata={n: v for n, v in i.metadata.items() if n != "mtime"}) for k, i in arrived.items()}
    assert (told["complete"], bare) == (True, {k: i for k, i in objects().items() if k != MARKER})
    assert all("mtime" in item.metadata for item in arrived.values()), "they were files"
