"""Collect the files of the runtime image: `python3 rootfs.py PACKAGES ROOT`.

ROOT gets the interpreter that runs this, its standard library without what a service never imports, PACKAGES as `/opt/skyferry`,
every shared library that any of them needs, certificates, and one user. For scanners, it also gets the records of the Debian
packages whose files it has, in the form of distroless images (`/var/lib/dpkg/status.d`).
"""

from __future__ import annotations

import compileall
import os
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

USER = 65532  # "nonroot", as in distroless images
UNUSED = (
    "ensurepip", "idlelib", "lib2to3", "pydoc_data", "site-packages", "dist-packages", "test", "tests", "tkinter", "turtledemo",
    "venv", "__pycache__", "__phello__",
)  # fmt: skip
PROGRAM = Path("/opt/skyferry")
LAUNCHER = """#!{interpreter} -I
import sys

sys.path.insert(0, "{program}")
from skyferry.cli import main

main()
"""
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def main(packages: Path, root: Path) -> None:
    """Fill `root`."""
    interpreter = Path(sys.executable).resolve()
    library = Path(sysconfig.get_path("stdlib"))
    _copy(interpreter, root)
    shutil.copytree(library, root / library.relative_to("/"), ignore=_unused)
    shutil.copytree(
        packages, root / PROGRAM.relative_to("/"), ignore=shutil.ignore_patterns("bin", "__pycache__", "*.pyi")
    )
    _write(root / "usr/bin/skyferry", LAUNCHER.format(interpreter=interpreter, program=PROGRAM), 0o755)
    for needed in sorted(set(_libraries(root))):
        _copy(needed, root)
    _copy(CERTIFICATES, root)
    _add_user(root)
    _record_packages(root)
    never_checked = py_compile.PycInvalidationMode.UNCHECKED_HASH  # the root file system is read-only
    if not compileall.compile_dir(root, quiet=1, stripdir=str(root), prependdir="/", invalidation_mode=never_checked):
        sys.exit("a module cannot be compiled")


def _unused(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if name in UNUSED or name.startswith(("config-", "_tkinter")) or name.endswith(".a")}


def _libraries(root: Path) -> Iterator[Path]:
    """Yield the shared libraries that the ELF files in `root` need, and those that the C library loads by name."""
    for file in root.rglob("*"):
        if file.is_file() and not file.is_symlink() and _is_program(file):
            listed = subprocess.run(["ldd", str(file)], capture_output=True, text=True, check=False).stdout
            if file.is_relative_to(root / PROGRAM.relative_to("/")) and (
                missing := re.findall(r"(\S+) => not found", listed)
            ):
                sys.exit(f"{file.relative_to(root)} needs {missing[0]}: install the package that has it into BASE")
            for path in re.findall(r"(?:=> |^\s+)(/\S+)", listed, re.MULTILINE):
                if not Path(path).is_relative_to(root):
                    yield Path(path)
    for name in ("libnss_dns.so.2", "libnss_files.so.2", "libresolv.so.2"):
        yield from Path("/").glob(f"lib/*-linux-gnu/{name}")


def _is_program(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(4) == b"\x7fELF"


def _copy(file: Path, root: Path) -> None:
    """Copy a file under every name that leads to it, and the folder names which are links (`/lib` to `/usr/lib`)."""
    real, named = file.resolve(), file.parent.resolve() / file.name
    target, place = root / real.relative_to("/"), root / named.relative_to("/")
    for path in (target, place):
        path.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        shutil.copy2(real, target)
    if not place.exists():
        place.symlink_to(os.path.relpath(target, place.parent))
    for folder in file.parents:
        inside = root / folder.relative_to("/")
        if folder.is_symlink() and not inside.is_symlink():
            inside.symlink_to(os.readlink(folder))


def _add_user(root: Path) -> None:
    _write(
        root / "etc/passwd",
        f"root:x:0:0:root:/:/sbin/nologin\nskyferry:x:{USER}:{USER}::/var/lib/skyferry:/sbin/nologin\n",
    )
    _write(root / "etc/group", f"root:x:0:\nskyferry:x:{USER}:\n")
    _write(root / "etc/nsswitch.conf", "hosts: files dns\n")
    for folder, mode in (("var/lib/skyferry", 0o700), ("tmp", 0o1777), ("etc/skyferry", 0o755)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder).chmod(mode)
    os.chown(root / "var/lib/skyferry", USER, USER)


def _record_packages(root: Path) -> None:
    """Record the Debian packages that own a file of `root`."""
    files = [f"/{file.relative_to(root)}" for file in root.rglob("*") if file.is_file()]
    files += [
        file.removeprefix("/usr") for file in files if file.startswith("/usr/lib")
    ]  # its name before /usr was merged
    names: set[str] = set()
    for start in range(0, len(files), 500):
        chunk = files[start : start + 500]
        known = subprocess.run(["dpkg", "--search", *chunk], capture_output=True, text=True, check=False).stdout
        names.update(line.partition(": ")[0].partition(":")[0] for line in known.splitlines())
    for name in sorted(names):
        record = subprocess.run(["dpkg", "--status", name], capture_output=True, text=True, check=True).stdout
        _write(root / "var/lib/dpkg/status.d" / name, record)


def _write(file: Path, text: str, mode: int = 0o644) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
