"""Several processes on one folder: preconditions hold between them, and one that is killed leaves whole objects only."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from skyferry.model import Attributes
from skyferry.stores.local.store import LocalStore
from skyferry.testing.store_cases.place import compute_digests

CONTENDER = Path(__file__).with_name("contender.py")


def contender(folder: Path, name: str, job: str) -> subprocess.Popen[str]:
    """A process."""
    command = [sys.executable, str(CONTENDER), str(folder), name, job]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def together(folder: Path, job: str) -> list[str]:
    """What four processes print that do the same job at the same time."""
    processes = [contender(folder, f"p{n}", job) for n in range(4)]
    said = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    return said


async def test_of_processes_that_create_the_same_keys_one_wins_each(tmp_path: Path) -> None:
    """Every key has one creator, and holds what that one wrote."""
    said = together(tmp_path, "create")
    created = Counter(line for lines in said for line in lines.splitlines())
    assert set(created.values()) == {1}
    store = LocalStore("s", tmp_path)
    for n, lines in enumerate(said):
        for key in lines.splitlines():
            assert (await store.read(key, 0, 9)).data == b"p%d" % n
    assert sorted(created) == [meta.key async for meta in store.list()]
    await store.close()


async def test_processes_that_replace_lose_nothing(tmp_path: Path) -> None:
    """Four times 25 additions to one number are 100."""
    store = LocalStore("s", tmp_path)
    await store.write("n", b"0", Attributes(), compute_digests(b"0"))
    together(tmp_path, "count")
    assert (await store.read("n", 0, 9)).data == b"100"
    await store.close()


async def test_a_killed_process_leaves_whole_objects_only(tmp_path: Path) -> None:
    """Killed at any moment, five times: each object is one content, proven by its own checksum; the bucket works on."""
    dice = random.Random(1)
    store = LocalStore("s", tmp_path)
    for _ in range(5):
        process = contender(tmp_path, "p", "churn")
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.05 + dice.random() / 5)
        process.kill()
        process.communicate()
        metas = [meta async for meta in store.list()]
        for meta in metas:
            got = await store.read(meta.key, 0, meta.size, version=meta.version)
            assert len(set(got.data)) == 1, meta.key
            assert got.meta.checksums.crc32c == compute_digests(got.data).crc32c
            assert got.meta.attributes.content_type in ("", str(meta.size))
        for meta in metas:
            await store.delete(meta.key)
    assert all(name[:2] in ("w-", "u-") for name in os.listdir(tmp_path / ".skyferry" / "tmp"))
    await store.close()
