"""The container image: its files, its user, its bill of materials, and the program in it. `python -m tools.image` builds it."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.absent import absent
from tools.image import built
from tools.image_figures import USER, WORKSPACE, measure_size, mounted, serve, start

from skyferry.testing.servers import ServerMissing
from skyferry.testing.servers.process import free_ports

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    try:
        return built()
    except ServerMissing as missing:
        absent(missing)


@pytest.fixture(scope="module")
def root(config: dict[str, Any]) -> Iterator[Path]:
    """The root file system of a container."""
    with mounted() as folder:
        yield folder


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
    assert measure_size(root) < 225 * 2**20


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
        assert "extension" not in err, "a library of an extension in C is missing"


@pytest.mark.parametrize("extra", ["aiohttp", "awscrt", "google.auth", "azure.identity", "google.cloud.pubsub", "jwt"])
def test_the_clouds_are_there(root: Path, extra: str) -> None:
    assert (root / "opt" / "skyferry" / Path(*extra.split("."))).exists()


def test_a_base_without_a_library_is_refused(tmp_path: Path) -> None:
    """The program would run without that extension, or not at all."""
    spec = importlib.util.spec_from_file_location("rootfs", ROOT / "deploy" / "container" / "rootfs.py")
    assert spec is not None
    assert spec.loader is not None
    rootfs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rootfs)
    for place in ("usr/lib/python3/_optional.so", "opt/skyferry/fast.so"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(b"\x7fELF")
    (tmp_path / "ldd").write_text("#!/bin/sh\necho '  libstdc++.so.6 => not found'\n")
    (tmp_path / "ldd").chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        with pytest.raises(SystemExit, match=r"opt/skyferry/fast\.so needs libstdc\+\+\.so\.6: install"):
            list(rootfs._libraries(tmp_path))
        (tmp_path / "opt/skyferry/fast.so").unlink()
        list(rootfs._libraries(tmp_path))


def test_it_drains_as_pid_1(root: Path) -> None:
    """`docker stop`: SIGTERM to PID 1 drains, the exit code is 0."""
    process, program = serve(root)
    try:
        assert Path(f"/proc/{program}/status").read_text().split("NSpid:")[1].split("\n")[0].split()[-1] == "1"
        os.kill(program, signal.SIGTERM)
        began = time.monotonic()
        _, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
        assert time.monotonic() - began < 10
    finally:
        process.kill()


def test_a_workspace_of_another_user_is_named(root: Path) -> None:
    """As a volume that was made by root is: the error says which folder, and the exit code is that of a wrong configuration."""
    workspace = root / "var/lib/skyferry"
    os.chown(workspace, 0, 0)
    try:
        process = start(root, "run", SKYFERRY_SERVER__LISTEN=f"127.0.0.1:{free_ports()[0]}", **WORKSPACE)
        _, err = process.communicate(timeout=60)
        assert process.returncode not in (0, None)
        assert "/var/lib/skyferry" in err
        assert "Traceback" not in err
    finally:
        os.chown(workspace, USER, USER)
