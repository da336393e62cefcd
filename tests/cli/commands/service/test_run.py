"""`run`, as a process of its own: what it says, what it does, how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Timer
from typing import IO
from urllib.error import HTTPError
from urllib.request import urlopen

import orjson
import pytest
from tests.processes.running import wait_until

from skyferry.cli.commands.service.samples import SAMPLES

SKYFERRY = (sys.executable, "-c", "from skyferry.cli import main; main()")
PATIENCE = 60  # seconds: a bound for hangs
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts `skyferry run` in an empty folder, on a free port."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SKYFERRY_")}
    with ExitStack() as stack:

        def started(*arguments: str) -> subprocess.Popen[str]:
            command = [*SKYFERRY, "run", "--listen", "127.0.0.1:0", *arguments]
            pipe = subprocess.PIPE
            process = subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=pipe, stderr=pipe, text=True)
            watchdog = Timer(PATIENCE, process.kill)  # ends its streams too, so that nobody waits for ever
            watchdog.start()
            stack.callback(_end, process, watchdog)
            return process

        yield started


def _end(process: subprocess.Popen[str], watchdog: Timer) -> None:
    watchdog.cancel()
    process.kill()
    process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, list[dict[str, object]]]:
    """Exit code, standard output, and the log."""
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, [orjson.loads(line) for line in err.splitlines() if line.startswith("{")]


def until(stream: IO[str] | None, text: str) -> str:
    """The first line with `text` in it."""
    assert stream is not None
    for line in stream:
        if text in line:
            return line
    raise AssertionError(f"it ended without saying {text!r}")


def test_until_idle_copies_the_samples_byte_for_byte(start: Start, tmp_path: Path) -> None:
    code, out, log = ended(start("--samples", "--until-idle"))
    assert code == 0
    copied = tmp_path / "skyferry-data" / "destination"
    assert {name: (copied / name).read_bytes() for name in SAMPLES} == SAMPLES
    assert sorted(str(line["key"]) for line in log if line["event"] == "transfer.done") == sorted(SAMPLES)
    assert f"drop files into {tmp_path / 'skyferry-data' / 'source'}\n" in out
    assert re.search(r"^open http://127.0.0.1:\d+/docs$", out, re.M)


def test_a_second_run_copies_nothing_again(start: Start) -> None:
    ended(start("--samples", "--until-idle"))
    code, _, log = ended(start("--samples", "--until-idle"))
    assert (code, [line for line in log if line["event"] == "transfer.done"]) == (0, [])


def test_samples_do_not_go_into_a_folder_that_is_in_use(start: Start, tmp_path: Path) -> None:
    source = tmp_path / "skyferry-data" / "source"
    source.mkdir(parents=True)
    (source / "mine.txt").write_text("mine")
    ended(start("--samples", "--until-idle"))
    assert not (source / "samples").exists()


def test_dead_letters_have_an_exit_code_of_their_own(start: Start, tmp_path: Path) -> None:
    (tmp_path / "skyferry-data" / "source").mkdir(parents=True)
    (tmp_path / "skyferry-data" / "source" / "a.txt").write_text("a")
    config = tmp_path / "dead.yaml"
    config.write_text('routes: [{name: r, from: "file://source", to: "sim://destination?permission=1"}]\n')
    process = start("--until-idle", "--config", str(config))
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 3, err
    assert err.splitlines()[-1] == f"1 dead letter: skyferry dead-letters list --config {config}"


def is_ready(url: str) -> bool:
    try:
        with urlopen(url, timeout=PATIENCE) as answer:
            return bool(answer.status == 200)
    except HTTPError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_drains_and_the_exit_code_is_0(start: Start, number: signal.Signals) -> None:
    process = start()
    url = until(process.stdout, "open ").split()[1]
    until(process.stderr, "service.started")
    wait_until(lambda: is_ready(url.replace("/docs", "/ready")))  # its checks begin once it has started
    process.send_signal(number)
    code, _, log = ended(process)
    assert code == 0
    assert [line["event"] for line in log][-2:] == ["service.draining", "service.stopped"]


def test_a_dropped_file_is_copied_while_it_runs(start: Start, tmp_path: Path) -> None:
    process = start()
    until(process.stdout, "open ")
    until(process.stderr, "service.started")
    (tmp_path / "skyferry-data" / "source" / "dropped.txt").write_text("hello")
    until(process.stderr, "transfer.done")
    assert (tmp_path / "skyferry-data" / "destination" / "dropped.txt").read_text() == "hello"


def test_other_commands_ask_a_running_service(start: Start, tmp_path: Path) -> None:
    url = until(start().stdout, "open ").split()[1].removesuffix("/docs")

    def ask(*arguments: str) -> str:
        command = [*SKYFERRY, *arguments, "--url", url]
        return subprocess.run(
            command, cwd=tmp_path, check=True, capture_output=True, text=True, timeout=PATIENCE
        ).stdout

    assert re.match(r"service    running since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d, 0 in flight\n", ask("status"))
    assert orjson.loads(ask("status", "--json"))["service"]["routes"] == ["default"]
    [taken] = orjson.loads(ask("submit", "file://source/nothing.txt", "--json"))["events"]
    assert (len(taken["transfer_ids"]), taken["unrouted"]) == (1, False)


def test_the_second_signal_ends_it_at_once(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "slow.yaml"
    config.write_text('routes: [{name: r, from: "sim://source?latency=1h", to: "file://destination"}]\ndrain: 1h\n')
    (tmp_path / "skyferry-data" / "source").mkdir(parents=True)
    (tmp_path / "skyferry-data" / "source" / "a.txt").write_text("a")
    process = start("--config", str(config))
    until(process.stderr, "service.started")
    process.send_signal(signal.SIGTERM)
    until(process.stderr, "service.draining")
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 130


def test_a_port_in_use_is_one_line_and_a_usage_error(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = start("--listen", f"127.0.0.1:{taken.getsockname()[1]}")
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert len(err.splitlines()) == 1
    assert err.startswith("error: server.listen: cannot listen on 127.0.0.1:")


def test_a_folder_outside_the_workspace_must_be_there(start: Start, tmp_path: Path) -> None:
    """A disk that is not mounted must not look like an empty store."""
    config = tmp_path / "out.yaml"
    config.write_text(f'routes: [{{name: r, from: "file://{tmp_path}/nowhere", to: "file://destination"}}]\n')
    process = start("--until-idle", "--config", str(config))
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert err == f"error: {tmp_path}/nowhere: the folder does not exist (create it, or mount its disk)\n"
    assert not (tmp_path / "nowhere").exists()


def test_a_special_file_that_fails_a_listing_ends_a_run_until_idle(start: Start, tmp_path: Path) -> None:
    """It is no outage to wait for."""
    source = tmp_path / "skyferry-data" / "source"
    source.mkdir(parents=True)
    (source / "link").symlink_to("/etc/passwd")
    config = tmp_path / "strict.yaml"
    config.write_text(
        "stores: {s: {url: 'file://source', special_files: fail}}\nroutes: [{name: r, from: s, to: 'file://destination'}]\n"
    )
    process = start("--until-idle", "--config", str(config))
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert err.splitlines()[-1].startswith("error: s: link is a symlink, and special_files is fail (Remove it, ")


def test_only_folders_of_the_region_are_watched(start: Start, tmp_path: Path) -> None:
    """A folder that is the destination of another region's route is made here as a source."""
    stores = "\n".join(f"  {name}: {{url: 'file://{name}', region: {name}}}" for name in ("east", "west"))
    routes = "\n".join(
        f"  - {{name: from-{a}, from: {a}, to: {b}, run_in: source, ring: allow}}"
        for a, b in (("east", "west"), ("west", "east"))
    )
    (tmp_path / "skyferry.yaml").write_text(f"region: east\nstores:\n{stores}\nroutes:\n{routes}\n")
    code, out, _ = ended(start("--until-idle", "--no-live"))
    folders = re.findall(r"drop files into (.*)", out)
    assert (code, [Path(folder).name for folder in folders]) == (0, ["east"])


def test_a_workspace_that_is_not_utf8_is_refused(start: Start, tmp_path: Path) -> None:
    """It cannot be watched."""
    code, _, log = ended(start("--workspace", os.fsdecode(b"bad\xff"), "--until-idle"))
    assert (code, log, os.listdir(tmp_path)) == (2, [], [])
