"""Ceph's S3 gateway on a cluster of one: a monitor, one OSD that keeps its bodies in memory, and radosgw.

It is the second, independent S3 here, and the one that checks signatures.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from skyferry.frozen import dataclass
from skyferry.testing.servers.process import Children, ServerMissing, free_ports, is_answering, scratch_folder

PACKAGES = ("radosgw", "ceph-mon", "ceph-osd")  # of Debian; ceph-mgr is not needed
HOST = "127.0.0.1"

# A lone monitor need not gather proposals before it decides (paxos): waiting for more took 12 s of the start.
CONFIG = """\
[global]
fsid = {fsid}
mon initial members = a
mon host = {monitor}
keyring = {folder}/keyring
auth allow insecure global id reclaim = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 2000
ms bind ipv6 = false
run dir = {folder}
log file = {folder}/$name.log
admin socket = {folder}/$name.asok
mon data avail crit = 1
paxos propose interval = 0.05
paxos min wait = 0.01
[mon.a]
mon data = {folder}/mon
[osd.0]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
osd objectstore = memstore
osd data = {folder}/osd
memstore device bytes = 8589934592
osd max object size = 134217728
[client.rgw]
rgw frontends = beast {endpoints}
rgw thread pool size = 64
rgw override bucket index max shards = 1
"""

# radosgw insists on cephx, so every component has a key.
KEYS = (
    ("client.admin", "mon", "allow *", "osd", "allow *", "mgr", "allow *"),
    ("client.rgw", "mon", "allow rwx", "osd", "allow rwx"),
    ("osd.0", "mon", "allow profile osd", "osd", "allow *"),
)


@dataclass(frozen=True, slots=True)
class RadosGateway:
    """A running radosgw with one user."""

    url: str
    region: str = "us-east-1"
    access_key: str = "testkey1"
    secret_key: str = "testsecret1"


def install() -> None:
    """Install it with apt-get, which needs root."""
    subprocess.run(["apt-get", "install", "--yes", "--no-install-recommends", *PACKAGES], check=True)


@contextmanager
def radosgw(*addresses: str) -> Iterator[RadosGateway]:
    """A gateway on loopback and `addresses` for as long as the block. Starts in about 2 s; takes 140 MiB plus its objects."""
    if not all(map(shutil.which, ("radosgw", "radosgw-admin", "ceph-mon", "ceph-osd", "ceph"))):
        raise ServerMissing("radosgw")
    first, second, port = free_ports(3, HOST)
    with scratch_folder("radosgw") as folder, Children(folder / "log") as children:
        cluster = _Cluster(folder, children, f"[v2:{HOST}:{first},v1:{HOST}:{second}]")
        cluster.configure([f"{address}:{port}" for address in (HOST, *addresses)])
        cluster.start_monitor()
        cluster.start_osd()
        server = RadosGateway(f"http://{HOST}:{port}")
        cluster.start_gateway(server)
        yield server


class _Cluster:
    """The steps that bring one up."""

    def __init__(self, folder: Path, children: Children, monitor: str) -> None:
        self._folder, self._children, self._monitor = folder, children, monitor
        self._fsid = str(uuid.uuid4())
        self._config = folder / "ceph.conf"

    def configure(self, endpoints: Sequence[str]) -> None:
        """Write the configuration. `endpoints` are addresses and ports of the gateway."""
        listen = " ".join(f"endpoint={endpoint}" for endpoint in endpoints)
        self._config.write_text(
            CONFIG.format(fsid=self._fsid, monitor=self._monitor, folder=self._folder, endpoints=listen)
        )

    def start_monitor(self) -> None:
        keys, monitor_keys, map_ = (self._folder / name for name in ("keyring", "mon.keyring", "monmap"))
        self._run("monmaptool", "--create", "--addv", "a", self._monitor, "--fsid", self._fsid, map_)
        self._run("ceph-authtool", "-C", monitor_keys, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        keys.touch()
        for name, *capabilities in KEYS:
            caps = [x for who, what in zip(*[iter(capabilities)] * 2, strict=True) for x in ("--cap", who, what)]
            self._run("ceph-authtool", keys, "--gen-key", "-n", name, *caps)
        self._run("ceph-authtool", monitor_keys, "--import-keyring", keys)
        self._run("ceph-mon", "-i", "a", "--mkfs", "--monmap", map_, "--keyring", monitor_keys)
        self._spawn("ceph-mon", "-i", "a")
        self._children.wait(lambda: bool(self._ceph("fsid")))

    def start_osd(self) -> None:
        self._run("ceph", "osd", "new", str(uuid.uuid4()))
        osd = json.loads(self._ceph("osd", "dump", "-f", "json"))["osds"][0]["uuid"]
        (self._folder / "osd").mkdir()
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._run("ceph", "osd", "crush", "add", "osd.0", "1.0", "root=default", "host=h")
        self._spawn("ceph-osd", "-i", "0")
        self._children.wait(lambda: b"1 up" in self._ceph("osd", "stat"))

    def start_gateway(self, server: RadosGateway) -> None:
        keys = (f"--access-key={server.access_key}", f"--secret-key={server.secret_key}")
        self._run("radosgw-admin", "user", "create", "--uid=test", "--display-name=test", *keys)
        self._spawn("radosgw", "-n", "client.rgw")
        self._children.wait(lambda: is_answering(server.url))

    def _spawn(self, program: str, *arguments: str) -> None:
        self._children.spawn([program, "-c", self._config, "-f", *arguments])

    def _run(self, *command: str | Path) -> None:
        alone = command[0] in ("monmaptool", "ceph-authtool")  # they know no cluster
        where: list[str | Path] = [] if alone else ["-c", self._config]
        subprocess.run([*command, *where], check=True, capture_output=True, timeout=60)

    def _ceph(self, *arguments: str) -> bytes:
        """Return the output of a cluster command; empty while the cluster does not answer."""
        command: list[str | Path] = ["ceph", "-c", self._config, "--connect-timeout", "2", *arguments]
        return subprocess.run(command, capture_output=True, timeout=30, check=False).stdout
