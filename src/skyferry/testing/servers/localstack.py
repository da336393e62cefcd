"""LocalStack 4.12, in a virtual environment of its own (it pins its SDK): S3, SQS, STS and more in one process.

The newest releases do not import on Python 3.11, and unpinned dependencies break the others, hence the lock.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
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

LOCK = Path("requirements", "localstack.txt")  # in the project's checkout
SERVICES = ("s3", "sqs", "sts", "iam", "sns", "events")


@dataclass(frozen=True, slots=True)
class LocalStack:
    """A running LocalStack. Any access key and secret will do."""

    url: str  # of every service
    region: str = "us-east-1"


def _python() -> Path:
    return find_servers() / "localstack" / "bin" / "python"


def install() -> None:
    """Install it from the lock, every file checked against its hash. Needs the project's checkout as working folder."""
    folder = find_servers() / "localstack"
    if uv := shutil.which("uv"):
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True)
        pip = [uv, "pip", "install", "--quiet", "--python", str(_python())]
    else:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip = [str(_python()), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--require-hashes", "--no-deps", "-r", LOCK], check=True)


@contextmanager
def localstack(services: Sequence[str] = SERVICES, *addresses: str) -> Iterator[LocalStack]:
    """LocalStack on loopback and `addresses` for as long as the block. Takes about 2 s to start and 110 MiB."""
    if not _python().exists():
        raise ServerMissing("localstack")
    [port] = free_ports(host="127.0.0.1")
    url = f"http://127.0.0.1:{port}"
    with scratch_folder("localstack") as folder, Children(folder / "log") as children:
        children.spawn([_python(), "-m", "localstack.runtime.main"], _environment(port, folder, services, addresses))
        children.wait(lambda: is_answering(f"{url}/_localstack/health"))
        yield LocalStack(url)


def _environment(port: int, folder: Path, services: Sequence[str], addresses: Sequence[str]) -> dict[str, str]:
    return {
        # Its services reach each other as localhost, which may be 127.0.0.1 only
        "GATEWAY_LISTEN": ",".join(f"{address}:{port}" for address in ("127.0.0.1", *addresses)),
        "GATEWAY_SERVER": "hypercorn",  # the default listens on every address instead
        "LOCALSTACK_HOST": f"localhost:{port}",
        "SERVICES": ",".join(services),
        "DNS_ADDRESS": "0",
        "DISABLE_EVENTS": "1",  # no telemetry
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "SQS_ENDPOINT_STRATEGY": "path",
        "LS_LOG": "warn",
        "TMPDIR": str(folder),  # bodies are spooled there
        "PATH": f"{_python().parent}{os.pathsep}{os.environ['PATH']}",
    }
