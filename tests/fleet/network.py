"""Hosts on one machine: a network namespace, an address and a clock for each."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

FAKETIME = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/local/lib/faketime/libfaketimeMT.so.1")


def find_faketime() -> Path | None:
    """Return the library that offsets a process's wall clock; None without Debian's `libfaketime`."""
    return next((found for pattern in FAKETIME for found in Path("/").glob(pattern[1:])), None)


def why_no_namespaces() -> str:
    """Say why this user cannot make network namespaces; "" if it can."""
    missing = [program for program in ("ip", "iptables") if shutil.which(program) is None]
    if sys.platform != "linux" or missing:
        return f"network namespaces need Linux and {' and '.join(missing) or 'its tools'}"
    name = f"probe{os.getpid()}"
    tries = (
        ["ip", "netns", "add", name],
        ["ip", "netns", "exec", name, "iptables", "-A", "OUTPUT", "-d", "192.0.2.1", "-j", "DROP"],
        ["ip", "link", "add", f"b{os.getpid()}", "type", "bridge"],
    )
    try:
        for command in tries:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                return f"this user cannot make network namespaces: {done.stderr.strip()}"
        return ""
    finally:
        subprocess.run(["ip", "link", "del", f"b{os.getpid()}"], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


@dataclass(slots=True)
class Host:
    """A place for processes. Without a namespace it is this machine itself."""

    name: str
    ahead: int  # seconds that its wall clock is ahead
    namespace: str = ""
    _dropped: set[str] = field(default_factory=set)

    def spawn(
        self, command: Sequence[str | Path], log: Path, folder: Path, env: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        """Start a process here, in a group of its own."""
        clock = {}
        if self.ahead and (library := find_faketime()):
            clock = {"LD_PRELOAD": str(library), "FAKETIME": f"{self.ahead:+d}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        inside = ["ip", "netns", "exec", self.namespace] if self.namespace else []
        inside += ["env", *(f"{name}={value}" for name, value in clock.items())] if clock else []
        with log.open("ab") as output:
            return subprocess.Popen(
                [*inside, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=folder,
                env={**os.environ, **env},
                start_new_session=True,
            )

    def cut_off(self, address: str) -> None:
        """Drop each packet to an address, without a word to its sender."""
        if address not in self._dropped:
            self._filter("-A", address)
            self._dropped.add(address)

    def heal(self) -> None:
        """End all cuts."""
        for address in list(self._dropped):
            self._filter("-D", address)
            self._dropped.discard(address)

    def _filter(self, action: str, address: str) -> None:
        run("ip", "netns", "exec", self.namespace, "iptables", action, "OUTPUT", "-d", address, "-j", "DROP")


@dataclass(frozen=True, slots=True)
class Network:
    """Hosts, and addresses at which they reach the servers of this machine."""

    hosts: list[Host]
    ledger: str
    queue: str
    source: str
    destination: str
    subnet: str
    separate: bool  # hosts are namespaces, and can be cut off


@contextmanager
def network(ahead: Sequence[int], *, separate: bool) -> Iterator[Network]:
    """Hosts whose clocks are `ahead` by seconds, for as long as the block; in namespaces if `separate`."""
    number = os.getpid() % 16000
    net = f"10.{64 + number // 250}.{number % 250}" if separate else "127.0.77"
    servers = [f"{net}.{last}" for last in (11, 12, 13, 14)]
    hosts = [Host(f"host-{n}", seconds) for n, seconds in enumerate(ahead)]
    made = Network(hosts, servers[0], servers[1], servers[2], servers[3], f"{net}.0/24", separate)
    with ExitStack() as stack:
        if separate:
            bridge = f"sf{os.getpid()}"
            run("ip", "link", "add", bridge, "type", "bridge")
            stack.callback(run, "ip", "link", "del", bridge)
            run("ip", "link", "set", bridge, "up")
            for address in servers:
                run("ip", "address", "add", f"{address}/24", "dev", bridge)
            for n, host in enumerate(hosts):
                _connect(stack, host, bridge, f"{net}.{100 + n}/24", n)
        yield made


def _connect(stack: ExitStack, host: Host, bridge: str, address: str, number: int) -> None:
    host.namespace = f"{bridge}h{number}"
    inside = ["ip", "-n", host.namespace]
    run("ip", "netns", "add", host.namespace)
    stack.callback(run, "ip", "netns", "del", host.namespace)
    run("ip", "link", "add", f"{bridge}v{number}", "type", "veth", "peer", "name", "eth0", "netns", host.namespace)
    run("ip", "link", "set", f"{bridge}v{number}", "master", bridge, "up")
    run(*inside, "address", "add", address, "dev", "eth0")
    for device in ("eth0", "lo"):
        run(*inside, "link", "set", device, "up")


def run(*command: str) -> None:
    """Run a command of the system. Raises CalledProcessError."""
    subprocess.run(command, check=True, capture_output=True)


def send(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a process and its children."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
