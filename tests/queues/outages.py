"""Receivers that outlive their server."""

from __future__ import annotations

import asyncio

from skyferry.errors import QueueError
from skyferry.ports import EventQueue


async def receive_bodies(queue: EventQueue) -> list[bytes]:
    """Wait for messages, whatever fails meanwhile."""
    while True:
        try:
            if found := await queue.receive(1, 20):
                return [message.body for message in found]
        except QueueError:
            await asyncio.sleep(0.05)
