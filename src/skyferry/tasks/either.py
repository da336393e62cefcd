"""Waiting for one of two."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable


async def wait_for_either(one: Awaitable[object], other: Awaitable[object]) -> None:
    """Wait until one of two has ended, in whatever way, and cancel the other. One that ignores this is not waited for."""
    both = [asyncio.ensure_future(each) for each in (one, other)]
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in both:
            each.cancel()
