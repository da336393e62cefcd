"""S3 servers for benchmarks, and the commands of the tools that copy between them and folders."""

from __future__ import annotations

import datetime
import ipaddress
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

AT_ONCE = "64"
KEY, SECRET = "benchkey", "benchsecret"  # of the servers here
PYTHON = Path(sys.executable)
RCLONE, S5CMD, JUICEFS = (str(PYTHON.with_name(name)) for name in ("rclone", "s5cmd", "juicefs"))
Command = Callable[[str], list[str]]


class Spent(NamedTuple):
    """The cost of a command."""

    cpu: float  # seconds, user and system
    seconds: float
    peak: int  # bytes resident


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate for 127.0.0.1, which signs itself."""

    path: Path
    key: Path


def make_certificate(folder: Path) -> Certificate:
    """Write a certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate = Certificate(folder / "certificate.pem", folder / "key.pem")
    certificate.path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    certificate.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
    return certificate


@contextmanager
def serve(folder: Path, certificate: Certificate | None = None) -> Iterator[str]:
    """Serve a folder as S3, and yield the endpoint."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [RCLONE, "serve", "s3", str(folder), "--addr", f"127.0.0.1:{port}", "--auth-key", f"{KEY},{SECRET}"]
    if certificate:
        command += ["--cert", str(certificate.path), "--key", str(certificate.key)]
    with subprocess.Popen([*command, "--config", os.devnull, "--quiet"]) as server:
        try:
            for _ in range(100):
                with socket.socket() as probe:
                    if not probe.connect_ex(("127.0.0.1", port)):
                        break
                time.sleep(0.1)
            yield f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
        finally:
            server.terminate()


@contextmanager
def serve_in_process(module: str, *arguments: str) -> Iterator[str]:
    """Run `python -m MODULE --serve ARGUMENTS` in a process, and yield the port that it prints."""
    command = [sys.executable, "-m", module, "--serve", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def run(command: Sequence[str], environ: Mapping[str, str]) -> Spent:
    """Run a command, after the disk has what earlier ones wrote. Raise RuntimeError with its last words if it fails."""
    os.sync()
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began, peak = time.perf_counter(), 0
    with open(os.devnull, "wb") as null, subprocess.Popen(
        command, env=inherited | dict(environ), stdin=null, stdout=null, stderr=subprocess.PIPE
    ) as process:  # fmt: skip
        assert process.stderr is not None
        os.set_blocking(process.stderr.fileno(), False)
        words = b""
        while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
            peak = max(peak, read_peak(process.pid))
            words = (words + (process.stderr.read() or b""))[-2000:]
            time.sleep(0.005)
        passed = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(ended[1])
        words += process.stderr.read() or b""
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} fails ({process.returncode}): {words.decode(errors='replace')}")
    return Spent(ended[2].ru_utime + ended[2].ru_stime, passed, peak)


def read_peak(process: int) -> int:
    """Return the peak bytes of a process, or 0 if it has ended. Unlike `ru_maxrss`, they exclude those of its parent."""
    try:
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:  # no Linux
        pass
    return 0


def copy_by_skyferry(python: str, source: str, destination: str, folder: Path) -> Command:
    """Return the command that copies to another prefix each time, with a ledger for each."""

    def command(prefix: str) -> list[str]:
        urls = (
            f"s3://src/?endpoint={source}&identity=static",
            f"s3://dst/{prefix}/?endpoint={destination}&identity=static",
        )
        return [python, "-m", "skyferry", "copy", *urls, "--workspace", str(folder / prefix)]

    return command


def copy_by_rclone(source: str, destination: str) -> Command:
    """Return the same with rclone."""

    def command(prefix: str) -> list[str]:
        ends = (name_for_rclone("src/", source), name_for_rclone(f"dst/{prefix}/", destination))
        return [RCLONE, "copy", *ends, "--transfers", AT_ONCE, "--checkers", AT_ONCE, "--config", os.devnull]

    return command


def name_for_rclone(path: str, endpoint: str) -> str:
    """Return rclone's name of a path at a server."""
    return f':s3,provider=Rclone,access_key_id={KEY},secret_access_key={SECRET},endpoint="{endpoint}":{path}'


def prepare_etags(endpoint: str, path: str, environ: Mapping[str, str]) -> None:
    """List a path at a server. `rclone serve s3` hashes each object for its first listing, which no tool is to pay for alone."""
    command = [RCLONE, "lsl", name_for_rclone(path, endpoint), "--config", os.devnull]
    subprocess.run(command, env=os.environ | dict(environ), check=True, stdout=subprocess.DEVNULL)


def is_installed(program: str) -> bool:
    """Return True if the program is there."""
    return shutil.which(program) is not None
