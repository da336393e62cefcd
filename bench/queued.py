"""CPU time of `skyferry run` from a queue, compared with that of `skyferry copy`, for the same small objects from S3 to S3.

    python -m bench.queued [--objects 4000] [--rounds 3] [--python PATH …]

The servers are two `rclone serve s3` on folders of this machine. An event for each object waits in a queue in SQLite before `run
--until-idle` starts; queue and ledger are durable, and logs, metrics and the HTTP server are on, as by default. That server's
writes have no preconditions, so `run` looks up each key before it writes it, and `copy` lists them. In the rows "with
preconditions", both take the destination for a service that has them. Each PATH is the Python of another checkout. Rounds are
interleaved, and medians are printed; CPU is user and system time of the whole process.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

from bench._tools import Spent, run, serve
from bench.peers import SIZE, Copy, Place, fill, prepare_environ

from skyferry.cli.arguments.object_urls import locate_object
from skyferry.config.load import load
from skyferry.events.native_encoding import encode_event
from skyferry.model import Change, ObjectEvent
from skyferry.ports import Outgoing
from skyferry.wiring import open_queue

PAGE = 5000  # events that are sent at once
EXACT = "r2"  # a service with preconditions, and otherwise like this one


@dataclass(frozen=True, slots=True)
class Runner:
    """One command to measure."""

    name: str
    python: str
    queued: bool  # `skyferry run`, not `skyferry copy`
    service: str = ""  # that the destination is taken for; "" = found by asking it

    def name_ends(self, copy: Copy) -> tuple[str, str]:
        """Return the URLs of source and destination."""
        prefix = "" if self.queued else f"{copy.prefix}/"
        to = copy.there.name("s3", f"dst/{prefix}", "skyferry")
        taken = f"&service={self.service}&region=us-east-1" if self.service else ""
        return copy.here.name("s3", f"{copy.bucket}/", "skyferry"), f"{to}{taken}"


async def send_events(config: Path, source: str, objects: int) -> None:
    """Send an event for each object to the queue of a configuration."""
    settings = load(config, {})
    ref, queue, now = locate_object(source, settings).ref, open_queue(settings), time.time()
    for start in range(0, objects, PAGE):
        events = [
            ObjectEvent(str(UUID(int=n)), Change.CREATED, replace(ref, key=f"{n:06}"), now, size=SIZE)
            for n in range(objects)[start : start + PAGE]
        ]
        await queue.send([Outgoing(encode_event(event)) for event in events])
    await queue.close()


def prepare_run(runner: Runner, copy: Copy, objects: int) -> list[str]:
    """Write a configuration, fill its queue, and return the command."""
    source, destination = runner.name_ends(copy)
    copy.workspace.mkdir()
    config = copy.workspace / "skyferry.yaml"
    config.write_text(
        f"workspace: {copy.workspace}\nstores: {{source: {{url: '{source}'}}, destination: {{url: '{destination}'}}}}\n"
        f"routes: [{{name: all, from: source, to: destination, key: '{copy.prefix}/{{key}}'}}]\n"
    )
    asyncio.run(send_events(config, source, objects))
    options = ["--config", str(config), "--until-idle", "--listen", "127.0.0.1:0"]
    return [runner.python, "-m", "skyferry", "run", *options]


def measure(runner: Runner, copy: Copy, objects: int, environ: dict[str, str]) -> Spent:
    """Copy all objects to a prefix."""
    if runner.queued:
        command = prepare_run(runner, copy, objects)
    else:
        command = [runner.python, "-m", "skyferry", "copy", *runner.name_ends(copy), "--workspace", str(copy.workspace)]
    spent = run(command, environ)
    count = sum(file.stat().st_size == SIZE for file in (copy.there.folder / "dst" / copy.prefix).iterdir())
    assert count == objects, f"{runner.name}: {count} of {objects} objects arrived"
    return spent


def find_runners(pythons: Sequence[str]) -> Iterator[Runner]:
    """Yield both commands of each checkout."""
    for python in (sys.executable, *pythons):
        of = "" if python == sys.executable else f" of {python}"
        for service, note in (("", ""), (EXACT, ", with preconditions")):
            yield Runner(f"copy{note}{of}", python, False, service)
            yield Runner(f"run{note}{of}", python, True, service)


def main(objects: int, rounds: int, pythons: Sequence[str]) -> None:
    """Print the table."""
    spent: dict[str, list[Spent]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="."))).absolute()
        fill(folder / "a/src", objects)
        (folder / "b/dst").mkdir(parents=True)
        here, there = (Place(folder / side, stack.enter_context(serve(folder / side))) for side in "ab")
        for turn in range(rounds):
            for number, runner in enumerate(find_runners(pythons)):
                prefix = f"{turn}-{number}"
                copy = Copy(here, there, ("s3", "s3"), "src", prefix, folder / f"workspace-{prefix}")
                spent.setdefault(runner.name, []).append(measure(runner, copy, objects, prepare_environ(folder)))
    print("| | objects/s | CPU, ms/object | × copy | RSS, MiB |\n|---|---|---|---|---|")
    middles = {
        name: Spent(*(statistics.median(values) for values in zip(*each, strict=True))) for name, each in spent.items()
    }
    for name, each in middles.items():
        ratio = each.cpu / middles[name.replace("run", "copy", 1)].cpu
        rate, cpu = objects / each.seconds, 1000 * each.cpu / objects
        print(f"| {name} | {rate:,.0f} | {cpu:.2f} | {ratio:.2f} | {each.peak / 2**20:.0f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--python", action="append", default=[])
    given = parser.parse_args()
    main(given.objects, given.rounds, given.python)
