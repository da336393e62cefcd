"""Azurite 3.37, from npm: Azure Blob and Queue storage. It checks keys, preconditions and MD5, not CRC64."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skyferry.frozen import dataclass
from skyferry.testing.servers.process import (
    Children,
    ServerMissing,
    find_servers,
    free_ports,
    is_answering,
    scratch_folder,
)

VERSION = "3.37.0"
HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Azurite:
    """A running Azurite with its one account, whose key is the same everywhere and public."""

    blob_url: str  # with the account
    queue_url: str
    account: str = "devstoreaccount1"
    key: str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

    @property
    def connection_string(self) -> str:
        """The connection string for Azure's SDK."""
        return (
            f"DefaultEndpointsProtocol=http;AccountName={self.account};AccountKey={self.key};"
            f"BlobEndpoint={self.blob_url};QueueEndpoint={self.queue_url};"
        )


def _main() -> Path:
    return find_servers() / "azurite" / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"


def install() -> None:
    """Install it with npm."""
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("Azurite needs Node.js with npm")
    folder = find_servers() / "azurite"
    folder.mkdir(exist_ok=True)
    subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", folder, f"azurite@{VERSION}"],
        check=True,
    )


@contextmanager
def azurite() -> Iterator[Azurite]:
    """Azurite for as long as the block, its data on disk. Takes about 0.5 s to start and 120 MiB."""
    node = shutil.which("node")
    if node is None or not _main().exists():
        raise ServerMissing("azurite")
    blob, queue, table = free_ports(3, HOST)
    with scratch_folder("azurite") as folder, Children(folder / "log") as children:
        ports = [
            f"--{service}{what}={value}"
            for service, port in (("blob", blob), ("queue", queue), ("table", table))
            for what, value in (("Host", HOST), ("Port", port))
        ]
        # A new SDK names an API version that no emulator knows yet.
        flags = ["--silent", "--disableTelemetry", "--skipApiVersionCheck", f"--location={folder / 'data'}"]
        children.spawn([node, _main(), *ports, *flags])
        server = Azurite(f"http://{HOST}:{blob}/devstoreaccount1", f"http://{HOST}:{queue}/devstoreaccount1")
        children.wait(lambda: is_answering(server.blob_url) and is_answering(server.queue_url))
        yield server
