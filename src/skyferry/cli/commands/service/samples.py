"""A few objects of different sizes, for a first look."""

from __future__ import annotations

import os
from pathlib import Path

from skyferry.cli.commands.service.run import folders
from skyferry.config.settings import Settings

_LINE = b"Skyferry copies this line to another store, proves that it arrived, and remembers it.\n"
SAMPLES = {
    "samples/empty.txt": b"",
    "samples/note.txt": (_LINE * 12)[:1024],
    "samples/table.csv": b"".join(b"%d,%d\n" % (n, n * n) for n in range(24_000))[: 300 * 1024],
    "samples/large.bin": bytes(range(256)) * (20 * 2**20 // 256),
}


def put(settings: Settings) -> None:
    """Into the first folder that is the source of a route, if it is empty or not there."""
    for folder in folders(settings)[:1]:
        if folder.is_dir() and any(not name.startswith(".") for name in os.listdir(folder)):
            return
        for name, data in SAMPLES.items():
            path = folder / Path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
