"""Write the bill of materials of a root file system and scan it, offline: `scan.py ROOT SBOM`.

A finding ends the build with exit code 1. Known vulnerabilities need a database: without one, the log says that it was not scanned.
"""

from __future__ import annotations

import platform
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

from cyclonedx.factory.license import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from detect_secrets import SecretsCollection
from detect_secrets.settings import default_settings
from packageurl import PackageURL

UNWANTED = {
    "sh",
    "bash",
    "dash",
    "busybox",
    "pip",
    "pip3",
    "gcc",
    "cc",
    "ld",
    "perl",
    "apt",
    "apt-get",
    "dpkg",
    "su",
    "sudo",
}
PRIVATE_KEY = re.compile(rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\s+[A-Za-z0-9+/=]{40}")
LICENSES = LicenseFactory()


def main(root: Path, sbom: Path) -> int:
    """Scan `root`, and return the exit code."""
    bom = describe(root)
    sbom.parent.mkdir(parents=True, exist_ok=True)
    sbom.write_text(JsonV1Dot6(bom).output_as_string(indent=1))
    print(f"scanner: {len(bom.components)} components in the bill of materials")
    findings = [*check_files(root), *check_secrets(root / "opt/skyferry/skyferry")]
    for finding in findings:
        print(f"scanner: {finding}")
    print(f"scanner: {len(findings)} findings in files, modes and secrets")
    return 1 if findings or not check_vulnerabilities(root) else 0


def describe(root: Path) -> Bom:
    """Return the bill of materials: Python distributions, Debian packages, and the interpreter."""
    bom = Bom()
    for each in distributions(path=[str(root / "opt/skyferry")]):
        name, version = each.metadata["Name"], each.version
        component = Component(
            type=ComponentType.LIBRARY, name=name, version=version, purl=PackageURL("pypi", None, name, version)
        )
        if text := each.metadata.get("License-Expression") or each.metadata.get("License"):
            component.licenses.add(LICENSES.make_from_string(text.splitlines()[0]))
        if name == "skyferry":
            component.type = ComponentType.APPLICATION
            bom.metadata.component = component
        else:
            bom.components.add(component)
    for record in sorted((root / "var/lib/dpkg/status.d").glob("*")):
        fields = dict(re.findall(r"^(Package|Version|Architecture): (.+)$", record.read_text(), re.MULTILINE))
        name, version = fields["Package"], fields["Version"]
        purl = PackageURL("deb", "debian", name, version, {"arch": fields["Architecture"]})
        bom.components.add(Component(type=ComponentType.LIBRARY, name=name, version=version, purl=purl))
    python = platform.python_version()
    purl = PackageURL("generic", None, "cpython", python)
    bom.components.add(
        Component(
            type=ComponentType.PLATFORM,
            name="cpython",
            version=python,
            purl=PackageURL("generic", None, "cpython", python),
        )
    )
    return bom


def check_files(root: Path) -> Iterator[str]:
    """Yield what must not be there: set-id bits, files that all may write, shells and tools, private keys."""
    for file in root.rglob("*"):
        mode = file.lstat().st_mode
        name = f"/{file.relative_to(root)}"
        if stat.S_ISLNK(mode):
            continue
        if mode & (stat.S_ISUID | stat.S_ISGID):
            yield f"{name} has a set-id bit"
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            yield f"{name} may be written by all"
        if stat.S_ISREG(mode) and mode & 0o111 and file.name in UNWANTED:
            yield f"{name} does not belong into the image"
        if stat.S_ISREG(mode) and PRIVATE_KEY.search(file.read_bytes()):
            yield f"{name} has a private key"


def check_secrets(folder: Path) -> Iterator[str]:
    """Yield what looks like a secret in the program's own files."""
    found = SecretsCollection()
    with default_settings():
        for file in sorted(folder.rglob("*.py")):
            if "testing" not in file.parts:  # has the well-known keys of emulators
                found.scan_file(str(file))
    for name, secret in found:
        yield f"{name}:{secret.line_number}: {secret.type}"


def check_vulnerabilities(root: Path) -> bool:
    """Return False if a package has a known vulnerability."""
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--path",
        root / "opt/skyferry",
        "--progress-spinner",
        "off",
        "--timeout",
        "10",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "known vulnerabilit" in done.stdout + done.stderr:
        print(done.stdout, done.stderr, sep="\n")
        return done.returncode == 0
    reason = (done.stderr.strip().splitlines() or ["no answer"])[-1]
    print(f"scanner: NOT SCANNED for known vulnerabilities, the database cannot be reached: {reason[:200]}")
    return True


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
