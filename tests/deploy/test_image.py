"""The container image: its files, its user, its bill of materials, and the program in it. `python -m tools.image` builds it."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from tests.absent import absent
from tools.image import NAME, buildah, built

from skyferry.testing.servers import ServerMissing
from skyferry.testing.servers.process import free_ports

USER = 65532


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    try:
        return built()
    except ServerMissing as missing:
        absent(missing)


@pytest.fixture(scope="module")
def root(config: dict[str, Any]) -> Iterator[Path]:
    """The root file system of a container."""
    container = buildah("from", NAME).stdout.strip()
    try:
        yield Path(buildah("mount", container).stdout.strip())
    finally:
        buildah("rm", container)


def start(root: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start the program in `root`, as PID 1 of its own namespace, with a read-only root but for the workspace."""
    entry = (
        f"mount --bind {root} {root} && mount --bind {root}/var/lib/skyferry {root}/var/lib/skyferry && "
        f"mount -t proc proc {root}/proc && mount -o remount,ro,bind {root} && "
        f'exec chroot --userspec={USER}:{USER} {root} /usr/bin/skyferry "$@"'
    )
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", entry, "sh", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.fixture(scope="module", autouse=True)
def mountable(root: Path) -> None:
    (root / "proc").mkdir(exist_ok=True)


WORKSPACE = {"SKYFERRY_WORKSPACE": "/var/lib/skyferry", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


def test_it_is_configured_for_an_orchestrator(config: dict[str, Any]) -> None:
    assert config["User"] == f"{USER}:{USER}"
    assert config["Entrypoint"] == ["/usr/bin/skyferry"]
    assert config["StopSignal"] == "SIGTERM"
    assert config["Healthcheck"]["Test"][:2] == ["CMD", "/usr/bin/skyferry"]
    assert list(config["Volumes"]) == ["/var/lib/skyferry"]


def test_it_has_neither_shell_nor_tools(root: Path) -> None:
    names = {file.name for file in root.rglob("*") if not file.is_dir() and os.access(file, os.X_OK)}
    assert names.isdisjoint({"sh", "bash", "dash", "busybox", "pip", "pip3", "gcc", "cc", "ld", "apt", "dpkg", "perl"})
    packages = {folder.name for folder in (root / "opt" / "skyferry").iterdir()}
    assert packages.isdisjoint({"pip", "setuptools", "wheel", "pytest", "hatchling"})


def test_only_the_workspace_and_tmp_can_be_written(root: Path) -> None:
    own = [f for f in root.rglob("*") if not f.is_symlink() and (f.stat().st_uid, f.stat().st_gid) != (0, 0)]
    assert [file.relative_to(root).as_posix() for file in own if "var/lib/skyferry/" not in f"{file}"] == [
        "var/lib/skyferry"
    ]
    open_to_all = [f for f in root.rglob("*") if not f.is_symlink() and f.stat().st_mode & stat.S_IWOTH]
    assert [file.relative_to(root).as_posix() for file in open_to_all] == ["tmp"]
    assert not [f for f in root.rglob("*") if not f.is_symlink() and f.stat().st_mode & (stat.S_ISUID | stat.S_ISGID)]


def test_it_is_small(root: Path) -> None:
    """Room for a tenth more than it had when this was written: 205 MiB, of which the SDKs of three clouds are two thirds."""
    size = sum(file.lstat().st_size for file in root.rglob("*") if not file.is_dir())
    assert size < 225 * 2**20


def test_the_bill_of_materials_is_complete(root: Path) -> None:
    bill = json.loads((root / "usr/share/doc/skyferry/sbom.cdx.json").read_text("utf-8"))
    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", "skyferry")
    listed = {component["purl"].partition("@")[0] for component in bill["components"]}
    metadata = (root / "opt" / "skyferry").glob("*.dist-info/METADATA")
    names = {re.search(r"^Name: (.+)$", file.read_text("utf-8"), re.MULTILINE)[1] for file in metadata}  # type: ignore[index]
    normal = {re.sub(r"[-_.]+", "-", name).lower() for name in names} - {"skyferry"}
    assert {f"pkg:pypi/{name}" for name in normal} <= listed
    assert {"pkg:deb/debian/libc6", "pkg:deb/debian/libssl3"} <= listed


def test_every_command_of_a_service_runs(root: Path) -> None:
    for command in (["version"], ["check-config"], ["schema", "config"], ["run", "--until-idle"], ["status"]):
        process = start(root, *command, SKYFERRY_SERVER__LISTEN=f"127.0.0.1:{free_ports()[0]}", **WORKSPACE)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, (command, out, err)


@pytest.mark.parametrize("extra", ["aiohttp", "awscrt", "google.auth", "azure.identity", "google.cloud.pubsub", "jwt"])
def test_the_clouds_are_there(root: Path, extra: str) -> None:
    assert (root / "opt" / "skyferry" / Path(*extra.split("."))).exists()


def test_it_drains_as_pid_1(root: Path) -> None:
    """`docker stop`: SIGTERM to PID 1 drains, the exit code is 0."""
    (port,) = free_ports()
    process = start(root, "run", SKYFERRY_SERVER__LISTEN=f"127.0.0.1:{port}", **WORKSPACE)
    try:
        _wait_until_healthy(port, process)
        program = _child_of(process.pid)
        assert Path(f"/proc/{program}/status").read_text().split("NSpid:")[1].split("\n")[0].split()[-1] == "1"
        os.kill(program, signal.SIGTERM)
        began = time.monotonic()
        _, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
        assert time.monotonic() - began < 10
    finally:
        process.kill()


def _wait_until_healthy(port: int, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        with suppress(URLError, OSError):
            urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
            return
        time.sleep(0.1)
    raise AssertionError(
        f"not healthy: {process.communicate(timeout=5) if process.poll() is not None else 'no answer'}"
    )


def _child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
