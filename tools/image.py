"""Build the image without a registry, for tests: `python -m tools.image`.

The base is a root file system of Debian's packages, made by mmdebstrap; the wheels are downloaded beforehand, by the locks. Both
are kept beside the servers of the tests. Needs root, and apt-get for what is missing.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from skyferry.testing.servers import ServerMissing
from skyferry.testing.servers.process import find_servers

ROOT = Path(__file__).parents[1]
CONTAINERFILE = ROOT / "deploy" / "container" / "Containerfile"
NAME = "localhost/skyferry"
PACKAGES = ("python3", "python3-pip", "python3-venv", "ca-certificates", "libstdc++6")
BASE = f"localhost/skyferry-base:{'-'.join(PACKAGES).replace('+', '')}"  # other packages are another base
LOCKS = ("build", "image", "scan")


def buildah(*arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run buildah on a storage beside the servers. Raises ServerMissing."""
    program = shutil.which("buildah")
    if program is None or not (find_servers() / "image").exists():
        raise ServerMissing("image", "python -m tools.image")
    folder = find_servers() / "image"
    storage: list[str | Path] = ["--storage-driver", "vfs", "--root", folder / "root", "--runroot", folder / "run"]
    return subprocess.run([program, *storage, *arguments], check=check, capture_output=True, text=True)


def built() -> dict[str, object]:
    """Return the configuration of the image, as Docker knows it. Raises ServerMissing if it was not built."""
    done = buildah("inspect", "--type", "image", NAME, check=False)
    if done.returncode:
        raise ServerMissing("image", "python -m tools.image")
    found: dict[str, object] = json.loads(done.stdout)["Docker"]["config"]
    return found


def build() -> str:
    """Build the image, and return the log."""
    install()
    (find_servers() / "image").mkdir(exist_ok=True)
    if buildah("inspect", "--type", "image", BASE, check=False).returncode:
        _build_base()
    wheels = find_servers() / "image" / "wheels"
    for lock in LOCKS:
        _download(ROOT / "requirements" / f"{lock}.txt", wheels)
    done = buildah(
        *("build", "--isolation", "chroot", "--format", "docker", "--file", CONTAINERFILE, "--tag", NAME),
        *("--build-arg", f"BASE={BASE}", "--build-arg", "PIP_OPTIONS=--no-index --find-links=/wheels"),
        *("--volume", f"{wheels}:/wheels:ro", ROOT),
        check=False,
    )
    if done.returncode:
        sys.exit(f"{done.stdout}\n{done.stderr}")
    return done.stdout


def install() -> None:
    """Install buildah and mmdebstrap."""
    if missing := [name for name in ("buildah", "mmdebstrap") if shutil.which(name) is None]:
        subprocess.run(["apt-get", "install", "--yes", "--no-install-recommends", *missing], check=True)


def _build_base() -> None:
    archive = find_servers() / "image" / "base.tar"
    include = f"--include={','.join(PACKAGES)}"
    subprocess.run(["mmdebstrap", "--quiet", "--variant=essential", include, "bookworm", archive], check=True)
    container = buildah("from", "scratch").stdout.strip()
    buildah("add", container, archive)
    buildah("commit", container, BASE)
    buildah("rm", container)
    archive.unlink()


def _download(lock: Path, folder: Path) -> None:
    """Download what a lock names, whatever its markers say of this Python: that of the base may be an older one."""
    everything = folder.parent / lock.name
    everything.write_text(re.sub(r" ; [^\\\n]+", " ", lock.read_text("utf-8")), "utf-8")
    command = ["python3", "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:"]
    version = ["--python-version", "3.11"]  # Debian's
    subprocess.run([*command, *version, "--dest", folder, "--requirement", everything], check=True)


if __name__ == "__main__":
    print(build())
