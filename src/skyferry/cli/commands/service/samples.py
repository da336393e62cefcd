"""Sample objects of different sizes, for a first run."""

from __future__ import annotations

import os
from pathlib import Path

from skyferry.cli.commands.service.source_folders import find_watched_folders
from skyferry.config.settings import Settings

_LINE = b"Skyferry copies this line to another store, proves that it arrived, and remembers it.\n"
SAMPLES = {
    "samples/empty.txt": b"",
    "samples/note.txt": (_LINE * 12)[:1024],
    "samples/table.csv": b"".join(b"%d,%d\n" % (n, n * n) for n in range(24_000))[: 300 * 1024],
    "samples/large.bin": bytes(range(256)) * (20 * 2**20 // 256),
}


def write_samples(settings: Settings) -> None:
    """Write the samples into the first watched folder if it is empty or missing."""
    for folder in find_watched_folders(settings)[:1]:
        if folder.is_dir() and any(not name.startswith(".") for name in os.listdir(folder)):
            return
        for name, data in SAMPLES.items():
            path = folder / Path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
