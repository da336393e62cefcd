"""CPU time of three S3 clients: Skyferry's store, obstore, and Amazon's SDK. See docs/decisions/0009.

    python bench/s3_clients.py [--requests N]

The server is LocalStack (`python -m skyferry.testing.servers install localstack`); objects have 4 KiB, with 32 requests at a
time. obstore and aiobotocore are measured if they are installed. The CPU time is this process's alone; the server mostly
determines the rate.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import resource
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Any

from skyferry.engine.copy.digests import digest_bytes
from skyferry.model import Attributes
from skyferry.stores.s3.client import S3Options
from skyferry.testing.servers import ServerMissing, localstack
from skyferry.testing.servers.s3 import S3Place

DATA = os.urandom(4096)
AT_ONCE = 32
Request = Callable[[int], Awaitable[object]]


def cpu() -> float:
    """Return the CPU seconds of this process, including its threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def measure(name: str, requests: int, request: Request) -> None:
    """Measure one request and print a row."""
    numbers = iter(range(requests))

    async def work() -> None:
        for number in numbers:
            await request(number)

    used, began = cpu(), time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work())
    each = 1000 * (cpu() - used) / requests
    print(f"{name:24} {each:6.3f} ms CPU {requests / (time.perf_counter() - began):8.0f} requests/s")


async def skyferry(place: S3Place, bucket: str, requests: int) -> None:
    """Measure Skyferry's store, which sends every checksum and converts every answer to an ObjectMeta."""
    store, checksums, attributes = place.store(bucket), digest_bytes(DATA), Attributes(metadata={"stamp": "1"})
    await measure("skyferry write", requests, lambda n: store.write(f"k{n}", DATA, attributes, checksums))
    await measure("skyferry read", requests, lambda n: store.read(f"k{n}", 0, 8192))
    await store.close()


async def obstore(place: S3Place, bucket: str, requests: int) -> None:
    """Measure obstore, which neither sends nor returns checksums."""
    module: Any = importlib.import_module("obstore")
    store = importlib.import_module("obstore.store").S3Store(
        bucket,
        endpoint=place.options.endpoint,
        access_key_id="any",
        secret_access_key="any",
        region="us-east-1",
        client_options={"allow_http": True},
    )

    async def read(number: int) -> None:
        await (await module.get_async(store, f"k{number}")).bytes_async()

    attributes = {"stamp": "1"}
    await measure("obstore put", requests, lambda n: module.put_async(store, f"k{n}", DATA, attributes=attributes))
    await measure("obstore get", requests, read)


async def aiobotocore(place: S3Place, bucket: str, requests: int) -> None:
    """Measure aiobotocore with the same checksums, and without validation of parameters and retries."""
    session = importlib.import_module("aiobotocore.session").get_session()
    config = importlib.import_module("aiobotocore.config").AioConfig(
        s3={"addressing_style": "path"}, max_pool_connections=64, parameter_validation=False,
        request_checksum_calculation="when_required", response_checksum_validation="when_required",
        retries={"total_max_attempts": 1},
    )  # fmt: skip
    keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "us-east-1"}
    async with session.create_client("s3", endpoint_url=place.options.endpoint, config=config, **keys) as client:
        crc = b64encode(bytes.fromhex(digest_bytes(DATA).crc32c)).decode()

        async def read(number: int) -> None:
            answer = await client.get_object(
                Bucket=bucket, Key=f"k{number}", Range="bytes=0-8191", ChecksumMode="ENABLED"
            )
            async with answer["Body"] as body:
                await body.read()

        async def write(number: int) -> None:
            stamp = {"stamp": "1"}
            await client.put_object(Bucket=bucket, Key=f"k{number}", Body=DATA, Metadata=stamp, ChecksumCRC32C=crc)

        await measure("aiobotocore put_object", requests, write)
        await measure("aiobotocore get_object", requests, read)


async def main(requests: int) -> None:
    """Measure the clients one after the other."""
    with localstack(["s3"]) as server:
        place = S3Place(S3Options(service="localstack", endpoint=server.url))
        for client in (skyferry, obstore, aiobotocore):
            try:
                await client(place, await place.bucket(), requests)
            except ModuleNotFoundError as missing:
                print(f"{missing.name} is not installed")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1500)
    try:
        asyncio.run(main(parser.parse_args().requests))
    except ServerMissing as missing:
        print(missing)
