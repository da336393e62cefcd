"""The fake Cloud Storage (`skyferry.testing.gcs`) in a separate process, so that it outlives the loop of its clients."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from skyferry.frozen import dataclass
from skyferry.testing.servers.process import Children, free_ports, is_answering, scratch_folder

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class GcsFake:
    """A running one. It has no buckets yet."""

    url: str
    token: str  # required of requests; "" = none is required


@contextmanager
def gcs_fake(token: str = "") -> Iterator[GcsFake]:
    """The fake for as long as the block. Takes about 0.3 s to start and 40 MiB; what is put there stays in memory."""
    [port] = free_ports(host=HOST)
    with scratch_folder("gcs") as folder, Children(folder / "log") as children:
        children.spawn([sys.executable, "-m", "skyferry.testing.gcs", f"--port={port}", f"--token={token}"])
        server = GcsFake(f"http://{HOST}:{port}", token)
        children.wait(lambda: is_answering(f"{server.url}/_fake/exchanges"))
        yield server
