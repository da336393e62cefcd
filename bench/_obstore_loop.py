"""Copy a bucket with obstore: list, then GET and PUT of each object, 64 at a time, without a proof or a record.

python -m bench._obstore_loop SOURCE DESTINATION [PREFIX]     (endpoints or folders)
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from typing import Any

AT_ONCE = 64


def open_store(place: str, bucket: str) -> Any:
    """Open a bucket of an endpoint, or a folder."""
    stores = importlib.import_module("obstore.store")
    if place.startswith("/"):
        return stores.LocalStore(place)
    return stores.S3Store(
        bucket,
        endpoint=place,
        access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
        secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        region="us-east-1",
        client_options={"allow_http": True, "allow_invalid_certificates": True},
    )


async def copy(source: str, destination: str, prefix: str) -> None:
    """Copy all objects."""
    obstore: Any = importlib.import_module("obstore")
    here, there = open_store(source, "src"), open_store(destination, "dst")
    keys = iter([meta["path"] for page in obstore.list(here) for meta in page])

    async def work() -> None:
        for key in keys:
            found = await obstore.get_async(here, key)
            await obstore.put_async(there, prefix + key, await found.bytes_async())

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work())


if __name__ == "__main__":
    asyncio.run(copy(sys.argv[1], sys.argv[2], "".join(sys.argv[3:4])))
    os._exit(0)  # its threads may abort the process while the interpreter ends
