"""Ask a server with bodies that are made to cost much: `python -m tests.server.bodies`.

Prints a line of JSON per body: name, length, status, seconds of CPU, MiB of memory. A process of its own: what a parser in
another language takes is seen in no other way.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import time
from collections.abc import Iterator
from pathlib import Path

from tests.server.served import Service, connect

from skyferry.errors import EventError
from skyferry.events.detect import parse_message
from skyferry.events.fields import MAX_BODY
from skyferry.server.routers.events import EXAMPLE

EVENTS, REDRIVE, QUEUE = "/v1/events", "/v1/dead-letters/redrive", "queue"
JSON = {"content-type": "application/json"}
MARK = '{"schemaVersion":"1.0.0","x":'


def filled(unit: str, before: str = "[", after: str = "]") -> bytes:
    """`unit` as often as the limit lets it be."""
    count = (MAX_BODY - len(before) - len(after)) // (len(unit) + 1)
    return (before + ",".join([unit] * count) + after).encode()


def named(before: str = "{", after: str = "}") -> bytes:
    """As many members as there is room for, each with a name of its own."""
    return (before + ",".join(f'"{number}":1' for number in range(90_000)) + after).encode()


def bodies() -> Iterator[tuple[str, str, bytes]]:
    """Name, path and body."""
    for name, unit in (("0", "0"), ("[[…", "[" * 500 + "]" * 500)):
        for path in (EVENTS, REDRIVE, QUEUE):
            yield f"[{name},…]", path, filled(unit)
        yield f"ids: [{name},…]", REDRIVE, filled(unit, '{"ids":[', "]}")
        yield f"native, x: [{name},…]", EVENTS, filled(unit, MARK + "[", "]}")
        yield f"native, x: [{name},…]", QUEUE, filled(unit, MARK + "[", "]}")
        yield f"Records: [{name},…]", QUEUE, filled(unit, '{"Records":[', "]}")
        yield f"push of [{name},…]", QUEUE, filled(unit, '{"message":{"messageId":"1","data":"W10="},"x":[', "]}")
    for path in (EVENTS, REDRIVE, QUEUE):
        yield "names", path, named()
        yield "unclosed", path, b"[" * MAX_BODY
        yield "digits", path, b'{"ids":[' + b"9" * (MAX_BODY - 20) + b"]}"
    for path in (EVENTS, QUEUE):
        yield "native, names", path, named(MARK + "{", "}}")
        yield "native, eventId: names", path, named('{"schemaVersion":"1.0.0","eventId":{', "}}")
        yield "native, wide text", path, (MARK + '"' + "\\ud83d\\ude00" * 80_000 + '"}').encode()
        yield "events", path, filled(json.dumps(EXAMPLE))
    yield "ids", REDRIVE, filled('"x"', '{"ids":[', "]}")
    yield "wrapped", QUEUE, base64.b64encode(filled("[]")[: MAX_BODY * 3 // 4 - 8])
    yield "larger than is read", QUEUE, bytes(10 * MAX_BODY)


async def main() -> None:
    """Ask with each of them."""
    async with connect(Service()) as client:
        await client.post(EVENTS, json=[EXAMPLE])
        await client.post(REDRIVE, json={"nothing": 1})
        for name, path, body in bodies():
            gc.collect()
            before, began = memory("VmRSS"), time.process_time()
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins again
            status = said(body) if path == QUEUE else (await client.post(path, content=body, headers=JSON)).status_code
            cost = round(time.process_time() - began, 2), (memory("VmHWM") - before) // 1024
            print(json.dumps([f"{path} {name}", len(body), status, *cost]))


def memory(name: str) -> int:
    """KiB of this process."""
    return int(Path("/proc/self/status").read_text().partition(f"{name}:")[2].split()[0])


def said(body: bytes) -> str:
    """Read a message of a queue."""
    try:
        return f"{len(parse_message(body, {}).events)} events"
    except EventError as error:
        return error.kind


if __name__ == "__main__":
    asyncio.run(main())
