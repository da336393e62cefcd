"""The package: the same bytes each time, complete metadata, and a wheel that works where it is installed."""

from __future__ import annotations

import email
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml
from tests.docs.pages import DOCS
from tools.release_notes import find_notes

from skyferry import __version__
from skyferry.config.load import check, load

ROOT = DOCS.parent
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", ".servers", ".*_cache", ".hypothesis", "__pycache__", "dist", "skyferry-data"
)
EPOCH = "1767225600"  # 2026-01-01


def build(folder: Path, times: int) -> list[Path]:
    """Build sdist and wheel from a copy of the tree whose files were all changed at `times`."""
    tree = folder / "tree"
    shutil.copytree(ROOT, tree, ignore=LEFT_OUT, symlinks=True)
    for file in tree.rglob("*"):
        os.utime(file, (times, times), follow_symlinks=False)
    command: list[str | Path] = [sys.executable, "-m", "hatchling", "build", "--directory", folder / "dist"]
    subprocess.run(command, cwd=tree, check=True, capture_output=True, env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH})
    return sorted((folder / "dist").iterdir())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return build(tmp_path_factory.mktemp("first"), 1_700_000_000)


def test_the_same_tree_gives_the_same_bytes(built: list[Path], tmp_path: Path) -> None:
    again = build(tmp_path, 1_800_000_000)
    digests = [{file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files} for files in (built, again)]
    assert digests[0] == digests[1]


def test_the_metadata_is_complete(built: list[Path]) -> None:
    (wheel,) = (file for file in built if file.suffix == ".whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    assert metadata["License-Expression"] == "Apache-2.0"
    urls = {url.partition(",")[0] for url in metadata.get_all("Project-URL", [])}
    assert urls >= {"Homepage", "Changelog", "Documentation", "Source"}
    assert set(metadata.get_all("Provides-Extra", [])) >= {"s3", "gcs", "azure", "pubsub", "push", "otel", "testing"}
    assert len(metadata.get_all("Classifier", [])) > 8
    assert metadata["Description-Content-Type"] == "text/markdown"


def test_the_readme_has_no_relative_links(built: list[Path]) -> None:
    """The package index has none of the files that they lead to."""
    (wheel,) = (file for file in built if file.suffix == ".whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        text = archive.read(name).decode("utf-8")
    links = re.findall(r"\]\(([^)\s]+)", text)
    assert len(links) > 20
    assert [link for link in links if not link.startswith("https://")] == []
    shown = {link.removeprefix("https://github.com/skyferry/skyferry/blob/main/").partition("#")[0] for link in links}
    assert [path for path in shown if "://" not in path and not (ROOT / path).exists()] == []


def test_the_sdist_has_what_a_packager_needs(built: list[Path]) -> None:
    (sdist,) = (file for file in built if file.name.endswith(".tar.gz"))
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"Makefile", "LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "requirements/image.txt"} <= names
    assert {name.partition("/")[0] for name in names} >= {"src", "tests", "docs", "deploy", "examples"}
    assert not [name for name in names if "__pycache__" in name or name.startswith(".venv")]


def test_the_wheel_has_its_data(built: list[Path]) -> None:
    (wheel,) = (file for file in built if file.suffix == ".whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    files = {f.relative_to(ROOT / "src").as_posix() for f in (ROOT / "src").rglob("*") if f.is_file()}
    assert {name for name in files if "__pycache__" not in name} <= names


def test_each_lock_names_hashes_only() -> None:
    locks = set((ROOT / "requirements").glob("*.txt")) - {
        ROOT / "requirements" / "constraints.txt"
    }  # pip refuses hashes there
    assert len(locks) > 5
    for lock in locks:
        text = lock.read_text("utf-8")
        requirements = re.findall(r"^[a-zA-Z0-9][^\n]*==[^\n]*\\$", text, re.MULTILINE)
        assert requirements, lock
        assert len(requirements) == len(re.findall(r"^[a-zA-Z0-9]", text, re.MULTILINE)), lock
        assert not re.search(r"^(-i|--index-url|--find-links)|://", text, re.MULTILINE), lock


def test_the_unit_is_what_systemd_accepts(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    text = (ROOT / "deploy" / "systemd" / "skyferry.service").read_text("utf-8")
    unit = tmp_path / "skyferry.service"
    unit.write_text(text.replace("/opt/skyferry/bin/skyferry", shutil.which("true") or ""))
    done = subprocess.run([program, "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    done = subprocess.run(
        [program, "security", "--offline=yes", "--threshold=15", unit], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, "exposure above 1.5 of 10"
    drain, patience = re.search(r"SKYFERRY_DRAIN=(\d+)s", text), re.search(r"TimeoutStopSec=(\d+)", text)
    assert drain is not None
    assert patience is not None
    assert int(patience[1]) >= int(drain[1]) + 10


def test_the_page_about_deployment_names_what_exists() -> None:
    page = (DOCS / "deploy.md").read_text("utf-8")
    blocks = "".join(re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL))
    sources = set(re.findall(r"(?<=[ =])(?:deploy|examples)/[\w./-]+", blocks)) - {"deploy/compose/skyferry.yaml"}
    assert len(sources) == 3
    assert [path for path in sources if not (ROOT / path).exists()] == []
    assert set(re.findall(r"dist/skyferry-([\d.]+\d)", blocks)) == {__version__}
    unit = (ROOT / "deploy" / "systemd" / "skyferry.service").read_text("utf-8")
    assert {"/opt/skyferry/bin/", "/etc/skyferry/skyferry.yaml"} <= set(
        re.findall(r"/opt/\w+/bin/|/etc/\S+\.yaml", unit)
    )
    assert "./skyferry.yaml:/etc/skyferry/skyferry.yaml:ro" in (ROOT / "deploy/compose/compose.yaml").read_text("utf-8")


def test_compose_mounts_files_that_exist() -> None:
    file = ROOT / "deploy" / "compose" / "compose.yaml"
    compose = yaml.safe_load(file.read_text("utf-8"))
    context = (file.parent / compose["services"]["skyferry"]["build"]["context"]).resolve()
    assert (context / compose["services"]["skyferry"]["build"]["dockerfile"]).exists()
    named = [config["file"] for config in compose["configs"].values() if "file" in config]
    assert len(named) == 2
    for name in named:
        assert (file.parent / name).exists(), name
    assert compose["services"]["skyferry"]["deploy"]["replicas"] == 2
    assert all(port.startswith("127.0.0.1:") for each in compose["services"].values() for port in each.get("ports", ()))


def test_compose_configures_the_workers(tmp_path: Path) -> None:
    """With the configuration of an example, they share a ledger, and start without a fault."""
    service = yaml.safe_load((ROOT / "deploy" / "compose" / "compose.yaml").read_text("utf-8"))["services"]["skyferry"]
    secret = tmp_path / "database"
    secret.write_text("0123456789abcdef0123456789abcdef")
    secret.chmod(0o400)
    environment = {
        name: re.sub(r"\$\{.*\}", secret.read_text(), value) for name, value in service["environment"].items()
    }
    assert environment["SKYFERRY_LEDGER__IDENTITY__SECRET_FILE"] == f"/run/secrets/{service['secrets'][0]['source']}"
    environment["SKYFERRY_LEDGER__IDENTITY__SECRET_FILE"] = str(secret)
    file = ROOT / "examples" / "s3-to-cloud-storage.yaml"
    assert check(file, environment).faults == ()
    assert load(file, environment).ledger.url.startswith("postgresql://")


def test_prometheus_in_compose_accepts_its_configuration(tmp_path: Path) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed")
    configs = yaml.safe_load((ROOT / "deploy" / "compose" / "compose.yaml").read_text("utf-8"))["configs"]
    (tmp_path / "prometheus.yaml").write_text(
        configs["prometheus"]["content"].replace("/etc/prometheus/token", str(tmp_path / "token"))
    )
    (tmp_path / "token").write_text("0123456789abcdef")
    shutil.copy(ROOT / "deploy" / "prometheus" / "alerts.yaml", tmp_path)
    done = subprocess.run(
        [program, "check", "config", tmp_path / "prometheus.yaml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize("present", ["docker", "skopeo"])
def test_make_base_pins_the_digest_of_the_registry(tmp_path: Path, present: str) -> None:
    containerfile = tmp_path / "Containerfile"
    shutil.copy(ROOT / "deploy" / "container" / "Containerfile", containerfile)
    for program in ("docker", "skopeo"):
        stub = tmp_path / program
        stub.write_text(
            f'#!/bin/sh\necho {program} "$@" >>{tmp_path}/asked\necho {DIGEST}\n'
            if program == present
            else "#!/bin/sh\nexit 1\n"
        )
        stub.chmod(0o755)
    done = make_base(tmp_path, containerfile)
    assert done.returncode == 0, done.stderr
    (base,) = re.findall(r"^ARG BASE=(.*)$", containerfile.read_text("utf-8"), re.MULTILINE)
    assert base == f"docker.io/library/python@{DIGEST}"
    assert "docker.io/library/python:3.13-slim-bookworm" in (tmp_path / "asked").read_text("utf-8")


def test_make_base_changes_nothing_without_an_answer(tmp_path: Path) -> None:
    containerfile = tmp_path / "Containerfile"
    shutil.copy(ROOT / "deploy" / "container" / "Containerfile", containerfile)
    for program in ("docker", "skopeo"):
        (tmp_path / program).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / program).chmod(0o755)
    assert make_base(tmp_path, containerfile).returncode != 0
    assert containerfile.read_text("utf-8") == (ROOT / "deploy" / "container" / "Containerfile").read_text("utf-8")


def make_base(programs: Path, containerfile: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    command = ["make", "--no-print-directory", "base", f"CONTAINERFILE={containerfile}"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_the_base_is_pinned() -> None:
    text = (ROOT / "deploy" / "container" / "Containerfile").read_text("utf-8")
    assert re.search(r"^ARG BASE=docker\.io/\S+@sha256:[0-9a-f]{64}$", text, re.MULTILINE)
    assert len(re.findall(r"^FROM ", text, re.MULTILINE)) == 3


def test_each_action_is_named_by_its_commit() -> None:
    """A tag can be moved to other code, which would run with the right to publish. A comment names the version."""
    used = [
        line for file in (ROOT / ".github" / "workflows").iterdir() for line in file.read_text("utf-8").splitlines()
    ]
    actions = [line.partition("uses: ")[2] for line in used if "uses: " in line]
    assert len(actions) > 5
    assert [name for name in actions if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", name)] == []


def test_a_release_has_its_entries_of_the_changelog() -> None:
    changelog = "# Changelog\n\n## Unreleased\n\n## 0.2.0 (2026-12-01)\n\n### Added\n\n- Two.\n\n## 0.1.0\n\n- One.\n"
    assert find_notes(changelog, "0.2.0") == "### Added\n\n- Two.\n"
    assert find_notes(changelog, "0.1.0") == "- One.\n"
    for missing in ("0.2", "0.3.0", "Unreleased"):
        with pytest.raises(LookupError, match=re.escape(missing)):
            find_notes(changelog, missing)
