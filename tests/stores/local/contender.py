"""One of several processes that write into the same bucket. Run: contender.py FOLDER NAME JOB"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from skyferry.errors import PreconditionFailed
from skyferry.model import Attributes
from skyferry.ports import Precondition
from skyferry.stores.local.store import LocalStore
from skyferry.testing.store_cases.place import compute_digests

KEYS, TURNS = 40, 25
LARGE = 300_000  # bytes


async def create(store: LocalStore, name: str) -> None:
    """Try to create every key; print those that were created."""

    async def one(key: str) -> None:
        data = name.encode()
        try:
            await store.write(key, data, Attributes(), compute_digests(data), Precondition(create_only=True))
        except PreconditionFailed:
            return
        print(key, flush=True)

    await asyncio.gather(*(one(f"d/{n}") for n in range(KEYS)))


async def count(store: LocalStore, name: str) -> None:
    """Add to the number in `n`, again and again."""
    for _ in range(TURNS):
        while True:
            got = await store.read("n", 0, 99)
            data = b"%d" % (int(got.data) + 1)
            try:
                when = Precondition(replace=got.meta.version)
                await store.write("n", data, Attributes(), compute_digests(data), when)
            except PreconditionFailed:
                continue
            break


async def churn(store: LocalStore, name: str) -> None:
    """Write and delete a few objects, of one repeated byte each, until killed; print "ready" after the first of them."""

    async def one(key: str) -> None:
        for turn in range(10**9):
            data = bytes([65 + turn % 26]) * (LARGE + turn)
            await store.write(key, data, Attributes(content_type=str(len(data))), compute_digests(data))
            upload = await store.start_upload(f"{key}-up", LARGE, LARGE // 2, Attributes())
            parts = [await store.write_part(upload, n, data[: LARGE // 2], "") for n in (1, 2)]
            await store.finish_upload(upload, parts, compute_digests(data[:LARGE]))
            if turn % 5 == 4:
                await store.delete(f"{key}-up")

    await store.write("d0/k", b"A" * LARGE, Attributes(content_type=str(LARGE)), compute_digests(b"A" * LARGE))
    print("ready", flush=True)  # The process is now killed: an earlier line would let it die before it wrote anything.
    await asyncio.gather(*(one(f"d{n}/k") for n in range(3)))


async def main(folder: str, name: str, job: str) -> None:
    """Do the job."""
    store = LocalStore(name, Path(folder))
    await {"create": create, "count": count, "churn": churn}[job](store, name)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
