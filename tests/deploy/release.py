"""The next release, as a program: `python release.py FAULT ARGUMENTS` is `skyferry ARGUMENTS` of version 9.0.0.

FAULT is `none`, `corrupt` (every second object has wrong bytes when it is written) or `slow` (a write takes four seconds).
"""

from __future__ import annotations

import sys
import time
from itertools import count

import skyferry

skyferry.__version__ = "9.0.0"

from skyferry.stores.local.blocking import writing  # noqa: E402 - after the version
from skyferry.stores.local.blocking.files import write_all  # noqa: E402

SLOW = 4.0  # seconds
WRITES = count(1)


def corrupt(file: int, data: bytes, offset: int = 0) -> None:
    """Write every second object with another first byte."""
    write_all(file, data if next(WRITES) % 2 else bytes([data[0] ^ 1]) + data[1:], offset)


def slow(file: int, data: bytes, offset: int = 0) -> None:
    """Write after a pause."""
    time.sleep(SLOW)
    write_all(file, data, offset)


if __name__ == "__main__":
    fault = sys.argv.pop(1)
    vars(writing)["write_all"] = {"none": write_all, "corrupt": corrupt, "slow": slow}[fault]
    from skyferry.cli import main

    main()
