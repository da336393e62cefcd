"""Small objects, second runs and starts: `skyferry copy` compared with rclone, s5cmd, `juicefs sync`, an obstore loop and rsync.

    python -m bench.peers [--objects 2000] [--rounds 3] [--pairs local-local …] [--python PATH …] [--write]

The servers are two `rclone serve s3` on folders of this machine. Rounds are interleaved: in each, every tool copies the same
objects to another prefix. Nothing is deleted before the end: for minutes, ext4 does not reuse freed inodes, and its search for
others would cost each tool more than the copy itself. `--pairs` measures only these ends, of `s3-s3`, `s3-local`, `local-s3`,
`local-local`, `s3-s3-tls` and `starts`, which are commands with little to do. The medians are printed; CPU is user
and system time of the whole command with its start, without the servers. Skyferry has its ledger and verification, and gets URLs
that name no service. Each PATH is the Python of another checkout to compare with. Tools that are not installed are named.
`--write` writes the table into docs/operations/performance.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench import _tools as tools
from bench._tools import AT_ONCE, JUICEFS, KEY, RCLONE, S5CMD, SECRET, Spent, is_installed, run, serve

SIZE = 4096  # bytes of an object
PAGE = Path("docs/operations/performance.md")
PAIRS = {"-".join(kinds): kinds for kinds in [("s3", "s3"), ("s3", "local"), ("local", "s3"), ("local", "local")]}
TLS, STARTS = "s3-s3-tls", "starts"
CHOICES = [*PAIRS, TLS, STARTS]
NOTES = """
Durable means that bytes and name are on the disk (`fsync`) when the copy counts as done. From S3 to S3, that is up to the
servers, for all tools alike.

| | durable on a local disk | compared after writing | record |
|---|---|---|---|
| Skyferry | each file and its folder | checksum of what the destination has | durable ledger |
| `skyferry --no-fsync` | no | the same | the same |
| `rsync --fsync` | each file, not its folder | no | none |
| rclone | no | size and MD5 | none |
| `juicefs sync` | no | no (`--check-new` does) | none |
| s5cmd, obstore loop | no | no | none |

s5cmd has one endpoint for both ends, so it does not copy between two servers. The obstore loop is a program of 20 lines that
lists, gets and puts, and skips nothing. rclone has 64 transfers and checkers, and `juicefs sync` 64 threads.
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A folder with buckets, and the S3 server on it."""

    folder: Path
    endpoint: str

    def name(self, kind: str, path: str, tool: str) -> str:
        """Return the tool's name of a path `bucket/prefix/`, in the folder or at the server."""
        if kind == "local":
            prefix = "file://" if tool in ("skyferry", "juicefs") else ""
            return f"{prefix}{self.folder}/{path}"
        if tool == "skyferry":
            return f"s3://{path}?endpoint={self.endpoint}&identity=static"
        if tool == "rclone":
            return tools.name_for_rclone(path, self.endpoint)
        if tool == "juicefs":
            scheme = "s3" if self.endpoint.startswith("https") else "minio"
            return f"{scheme}://{KEY}:{SECRET}@{self.endpoint.partition('//')[2]}/{path}"
        return f"s3://{path}"


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy that a tool is to make."""

    here: Place
    there: Place
    kinds: tuple[str, str]
    bucket: str  # of the source
    prefix: str  # at the destination
    workspace: Path

    def name_ends(self, tool: str) -> tuple[str, str]:
        """Return the tool's names of source and destination."""
        names = self.here.name(self.kinds[0], f"{self.bucket}/", tool)
        return names, self.there.name(self.kinds[1], f"dst/{self.prefix}/", tool)


Tool = Callable[[Copy], list[str]]


def use_skyferry(python: str, *options: str) -> Tool:
    """Return the tool of a checkout."""
    return lambda copy: [
        python, "-m", "skyferry", "copy", *copy.name_ends("skyferry"), "--workspace", str(copy.workspace), *options
    ]  # fmt: skip


def use_rclone(copy: Copy) -> list[str]:
    options = ["--transfers", AT_ONCE, "--checkers", AT_ONCE, "--config", os.devnull]
    return [RCLONE, "copy", *copy.name_ends("rclone"), *options]


def use_s5cmd(copy: Copy) -> list[str]:
    source, destination = copy.name_ends("s5cmd")
    endpoint = copy.here.endpoint if copy.kinds[0] == "s3" else copy.there.endpoint
    source += "*" if copy.kinds[0] == "s3" else ""
    return [S5CMD, "--endpoint-url", endpoint, "--log", "error", "cp", source, destination]


def use_juicefs(copy: Copy) -> list[str]:
    return [JUICEFS, "sync", "--no-agent", "-p", AT_ONCE, *copy.name_ends("juicefs")]


def use_obstore(copy: Copy) -> list[str]:
    source = copy.here.endpoint if copy.kinds[0] == "s3" else str(copy.here.folder / copy.bucket)
    local = str(copy.there.folder / "dst" / copy.prefix)
    ends = [copy.there.endpoint, f"{copy.prefix}/"] if copy.kinds[1] == "s3" else [local]
    return [sys.executable, "-m", "bench._obstore_loop", source, *ends]


def use_rsync(copy: Copy) -> list[str]:
    return ["rsync", "-a", "--whole-file", "--fsync", *copy.name_ends("rsync")]


def find_tools(pythons: Sequence[str], kinds: tuple[str, str]) -> Iterator[tuple[str, Tool]]:
    """Yield the tools that copy between such ends, and are installed."""
    yield "Skyferry", use_skyferry(sys.executable)
    for python in pythons:
        yield f"Skyferry of {python}", use_skyferry(python)
    if kinds[1] == "local":
        yield "Skyferry --no-fsync", use_skyferry(sys.executable, "--no-fsync")
    yield "rclone", use_rclone
    if is_installed(S5CMD) and kinds in (("s3", "local"), ("local", "s3")):
        yield "s5cmd", use_s5cmd
    if is_installed(JUICEFS):
        yield "juicefs sync", use_juicefs
    if find_version("obstore"):
        yield "obstore loop", use_obstore
    if is_installed("rsync") and kinds == ("local", "local"):
        yield "rsync --fsync", use_rsync


def find_version(package: str) -> str:
    """Return the version of a package, or nothing if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def describe_versions() -> str:
    """Return the versions, the date and the machine, and which tools are missing."""
    names = []
    for name, program, option in [
        ("rclone", RCLONE, "version"),
        ("s5cmd", S5CMD, "version"),
        ("juicefs", JUICEFS, "version"),
        ("rsync", "rsync", "--version"),
    ]:
        if not is_installed(program):
            names.append(f"{name} is not installed")
            continue
        words = subprocess.check_output([program, option], text=True).splitlines()[0].replace("version", "").split()
        names.append(
            f"{name} {next(word for word in words if word[0] in 'v0123456789').partition('-')[0].partition('+')[0].lstrip('v')}"
        )
    names.append(f"obstore {find_version('obstore') or 'is not installed'}")
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
    loop = os.environ.get("SKYFERRY_EVENT_LOOP") or ("uvloop" if find_version("uvloop") else "asyncio")
    return (
        f"Skyferry {version('skyferry')} on {loop} and Python {platform.python_version()}, {', '.join(names)}; "
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores ({model}), load {os.getloadavg()[0]:.1f} at the start"
    )


class Bench:
    """Places, and what the tools spent."""

    def __init__(self, here: Place, there: Place, environ: Mapping[str, str], pythons: Sequence[str]) -> None:
        self._here, self._there, self._environ, self._pythons = here, there, environ, pythons
        self.spent: dict[tuple[str, str], list[Spent]] = {}  # by what was done and by which tool

    def note(self, done: str, tool: str, spent: Spent) -> None:
        """Add a measurement."""
        self.spent.setdefault((done, tool), []).append(spent)
        print(f"{done}, {tool}: {spent.seconds:.2f} s, {spent.cpu:.2f} s CPU", file=sys.stderr, flush=True)

    def copy_all(self, kinds: tuple[str, str], turn: int, objects: int, *, again: bool) -> None:
        """Copy with each tool, and again if the second run is measured as well."""
        secure = self._here.endpoint.startswith("https")
        done = f"{' → '.join(kind.replace('s3', 'S3') for kind in kinds)}{', TLS' if secure else ''}"
        for number, (name, use) in enumerate(find_tools(self._pythons, kinds)):
            prefix = f"{done.replace(' → ', '-').replace(', ', '-')}-{turn}-{number}".lower()
            workspace, arrived = self._there.folder / f"workspace-{prefix}", self._there.folder / "dst" / prefix
            copy = Copy(self._here, self._there, kinds, "src", prefix, workspace)
            if kinds[0] == "s3":
                tools.prepare_etags(self._here.endpoint, "src/", self._environ)
            if kinds[1] == "local":
                arrived.mkdir()
            self.note(done, name, run(use(copy), self._environ))
            count = sum(file.stat().st_size == SIZE for file in arrived.rglob("*") if file.is_file())
            assert count == objects, f"{name}: {count} of {objects} objects arrived"
            if again and name != "obstore loop":
                self.note(f"again: {done}", name, run(use(copy), self._environ))

    def start_all(self, turn: int) -> None:
        """Run what has little to do."""
        for name, use in find_tools(self._pythons, ("local", "local")):
            prefix = f"one-{turn}-{name.replace(' ', '-').replace('/', '-')}"
            arrived, workspace = self._there.folder / "dst" / prefix, self._there.folder / "workspace"
            arrived.mkdir()
            copy = Copy(self._here, self._there, ("local", "local"), "one", prefix, workspace)
            self.note("one object, local → local", name, run(use(copy), self._environ))
            shutil.rmtree(workspace, ignore_errors=True)
        programs = {"Skyferry": [sys.executable, "-m", "skyferry"], "rclone": [RCLONE], "s5cmd": [S5CMD]}
        programs |= {f"Skyferry of {python}": [python, "-m", "skyferry"] for python in self._pythons}
        for name, program in ({**programs, "juicefs sync": [JUICEFS, "sync"]}).items():
            if is_installed(program[0]):
                self.note("`--help`", name, run([*program, "--help"], self._environ))
        status = [sys.executable, "-m", "skyferry", "status", "--workspace", str(self._there.folder / "idle")]
        if not turn:
            idle = ["run", "--until-idle", "--listen", "127.0.0.1:0", "--workspace", status[-1]]
            run([*status[:3], *idle], self._environ)
        self.note("`status`", "Skyferry", run(status, self._environ))


def format_rows(spent: Mapping[tuple[str, str], Sequence[Spent]], objects: int) -> Iterator[str]:
    """Yield the rows of the table. Ratios are to rclone, above 1 is faster or dearer."""
    yield "| | | objects/s | × rclone | CPU, ms/object | × rclone | RSS, MiB |"
    yield "|---|---|---|---|---|---|---|"
    middles = {
        case: Spent(*(statistics.median(values) for values in zip(*runs, strict=True))) for case, runs in spent.items()
    }
    for done in dict.fromkeys(done for done, _ in spent):
        whole = done[0] == "`" or done.startswith("one")
        count = 1 if whole else objects
        for name in [name for other, name in spent if other == done]:
            own, peer = middles[done, name], middles.get((done, "rclone"))
            times, dearer = (f"{peer.seconds / own.seconds:.2f}", f"{own.cpu / peer.cpu:.2f}") if peer else ("", "")
            rate = f"{own.seconds:.2f} s" if whole else f"{count / own.seconds:,.0f}"
            cpu = (
                f"{1000 * own.cpu / count:.{0 if whole else 3 if 'again' in done else 2}f}{' in all' if whole else ''}"
            )
            yield f"| {done} | {name} | {rate} | {times} | {cpu} | {dearer} | {own.peak / 2**20:.0f} |"


def fill(folder: Path, count: int, size: int = SIZE) -> None:
    """Make objects, durably, so that no later flush pays for them."""
    folder.mkdir(parents=True)
    for n in range(count):
        (folder / f"{n:06}").write_bytes(os.urandom(size))
    os.sync()


def prepare_environ(folder: Path) -> dict[str, str]:
    """Return the variables of all commands, away from the user's files and with a certificate that they trust."""
    return {
        "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1", "NO_PROXY": "*",
        "HOME": str(folder), "XDG_STATE_HOME": str(folder / "state"), "SSL_CERT_FILE": str(folder / "certificate.pem"),
    }  # fmt: skip


def measure_peers(objects: int, rounds: int, pythons: Sequence[str], pairs: Sequence[str]) -> str:
    """Return the table of these of the CHOICES."""
    heading = describe_versions()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="."))).absolute()
        fill(folder / "a/src", objects)
        fill(folder / "a/one", 1)
        (folder / "b/dst").mkdir(parents=True)
        certificate, benches = tools.make_certificate(folder), []
        for secure in (None, certificate):
            ends = [stack.enter_context(serve(folder / side, secure)) for side in "ab"]
            here, there = (Place(folder / side, end) for side, end in zip("ab", ends, strict=True))
            benches.append(Bench(here, there, prepare_environ(folder), pythons))
        plain, secured = benches
        for python in (sys.executable, *pythons):
            run([python, "-m", "skyferry", "version"], {})  # compile
        for turn in range(rounds):
            for name, kinds in PAIRS.items():
                if name in pairs:
                    plain.copy_all(kinds, turn, objects, again=kinds[0] == kinds[1])
            if TLS in pairs:
                secured.copy_all(("s3", "s3"), turn, objects, again=False)
            if STARTS in pairs:
                plain.start_all(turn)
    order = sorted(
        {**plain.spent, **secured.spent}.items(), key=lambda item: (item[0][0][0] in "`o", "again" in item[0][0])
    )
    chosen = "" if set(pairs) == set(CHOICES) else " --pairs " + " ".join(pairs)
    command = f"`python -m bench.peers --objects {objects} --rounds {rounds}{chosen}`"
    intro = f"{command}: {objects:,} objects of 4 KiB, medians of {rounds} interleaved rounds. {heading}.\n"
    return "\n".join([intro, *format_rows(dict(order), objects), NOTES.rstrip()])


def write_between_markers(name: str, text: str) -> None:
    """Replace what the page has between two markers. Raise ValueError if it lacks them."""
    begin, end = f"<!-- {name}: written by bench/{name}.py -->\n", f"<!-- {name}: end -->"
    before, found, rest = PAGE.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{PAGE} lacks the markers of {name}. Add {begin.strip()} and {end}.")
    PAGE.write_text(f"{before}{begin}\n{text}\n\n{end}{after}")


def main(given: argparse.Namespace) -> None:
    """Print what was measured, and write it."""
    text = measure_peers(given.objects, given.rounds, given.python, given.pairs)
    print(text)
    if given.write:
        write_between_markers("peers", text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pairs", nargs="+", choices=CHOICES, default=CHOICES, metavar="FROM-TO")
    parser.add_argument("--python", action="append", default=[])
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.write and set(options.pairs) != set(CHOICES):
        parser.error("--write needs all pairs")
    main(options)
