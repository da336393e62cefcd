"""The ends of a copy as people type them: names of other tools, empty variables, misspelt paths, closed streams."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Cli

from skyferry.cli.arguments.object_urls import locate_object
from skyferry.cli.exit_codes import ExitCode
from skyferry.config.settings import Settings

SKYFERRY = f"{sys.executable} -m skyferry"
BAD = os.fsdecode(b"in\xff")


@pytest.fixture
def tree(cli: Cli) -> Cli:
    """Return the command line in a folder with `in/b/a.txt`."""
    Path("in/b").mkdir(parents=True)
    Path("in/b/a.txt").write_bytes(b"a")
    return cli


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("ends", "code", "message"),
    [
        (("in", "s3:bucket/x"), 2, "s3:bucket/x: nothing here has this name, and it is no URL of a store"),
        (("in", "s3:/bucket/x"), 2, "for a local path, write ./s3:/bucket/x"),
        (("in", "remote:bucket"), 2, "no URL of a store"),
        (("in", "arn:aws:s3:::bucket"), 2, "no URL of a store"),
        (("remote:bucket", "out"), 2, "no URL of a store"),
        (("remote:bucket/*.gz", "out"), 2, "no URL of a store"),
        (("in", ""), 2, "the path is empty"),
        (("", "out"), 2, "the path is empty"),
        ((BAD, "out"), 2, "not valid UTF-8"),
        (("in", f"{BAD}/"), 2, "not valid UTF-8"),
        (("in", "~/out"), 2, "only a shell replaces ~"),
        (("file://~/in", "out"), 2, "for a folder of this name, write ./~/in"),
        (("im", "out"), 1, "im: the file or folder does not exist"),
        (("in/b/A.txt", "out"), 1, "in/b/A.txt: the file or folder does not exist"),
    ],
)
def test_what_is_no_path_is_refused_and_nothing_is_made(
    tree: Cli, ends: tuple[str, str], code: int, message: str
) -> None:
    """A copy to `s3:bucket` that makes a folder of this name looks like an upload."""
    before = sorted(os.listdir())
    result = tree("copy", *ends)
    assert (result.code, sorted(os.listdir())) == (code, before)
    assert message in result.err
    assert "Traceback" not in result.err


def test_a_name_with_a_colon_is_a_path_if_it_exists_or_begins_with_a_dot(tree: Cli) -> None:
    assert tree("copy", "in", "./12:30").code == 0
    assert tree("copy", "12:30", "back").code == 0
    assert tree("copy", "12:30/b/*", "again").code == 0
    assert (Path("back/b/a.txt").exists(), Path("again/a.txt").exists()) == (True, True)


def test_a_link_to_the_source_is_the_source(tree: Cli) -> None:
    """A file that replaced itself would lose its hard links, and be another one for programs that have it open."""
    Path("link").symlink_to("in")
    before = os.stat("in/b/a.txt").st_ino
    for ends in (("in/b/a.txt", "link/b"), ("link/b/a.txt", "in/b/"), ("in", "link"), ("link", "in")):
        result = tree("copy", *ends)
        assert (result.code, "source and destination are the same" in result.err) == (2, True)
    assert os.stat("in/b/a.txt").st_ino == before


def test_a_folder_named_like_the_home_folder_begins_with_a_dot(tree: Cli) -> None:
    assert tree("copy", "in", "./~/out").code == 0
    assert Path("~/out/b/a.txt").exists()


@pytest.mark.parametrize("command", [("ls", BAD), ("head", BAD), ("ls", "remote:x"), ("ls", "")])
def test_other_commands_refuse_the_same(tree: Cli, command: tuple[str, str]) -> None:
    assert tree(*command).code == ExitCode.USAGE


def test_an_unreadable_folder_is_named(tree: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("skyferry.stores.local.blocking.listing._Walk._find_texts", refuse)
    result = tree("copy", "in", "out")
    assert f"{Path('in').absolute()}: Permission denied" in result.err


@pytest.mark.parametrize(("source", "destination"), [("in/b/a.txt", "file/"), ("in", "file"), ("in", "file/below")])
def test_a_file_in_place_of_the_destination_is_named(tree: Cli, source: str, destination: str) -> None:
    """Its permissions are not the reason."""
    Path("file").write_bytes(b"x")
    result = tree("copy", source, destination)
    assert (result.code, "a file is where a folder is needed (name another folder" in result.err) == (2, True)
    assert Path("file").read_bytes() == b"x"


def test_an_end_that_cannot_be_copied_is_named_as_it_was_typed(tree: Cli) -> None:
    os.mkfifo("pipe")
    for ends in (("./pipe", "out"), ("in/b/a.txt", "./pipe")):
        assert tree("copy", *ends).err.startswith("error: ./pipe: a link or device is in its place")


@pytest.mark.parametrize("flag", ["-r", "-R", "--recursive"])
def test_the_flag_of_other_tools_is_accepted(tree: Cli, flag: str) -> None:
    assert tree("copy", flag, "in", "out").code == 0
    assert Path("out/b/a.txt").exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [("sync", "copy SRC DST --delete"), ("rcat", "copy - URL"), ("help", "--help"), ("stat", "head URL")],
)
def test_commands_of_other_tools_are_translated(cli: Cli, name: str, text: str) -> None:
    result = cli(name, "in", "out")
    assert (result.code, text in result.err) == (ExitCode.USAGE, True)


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("copy in out --region eu-west-1", "No such option '--region'. Write s3://BUCKET/KEY?region=NAME"),
        ("ls in --endpoint-url http://h", "No such option '--endpoint-url'. Write s3://BUCKET/KEY?endpoint=URL"),
        ("copy in out --exclude-from f", "No such option '--exclude-from'. Write --filter-from FILE"),
        ("copy in out --dryrun", "No such option '--dryrun'. Did you mean '--dry-run'?"),
        ("--config c.yaml run", "No such option '--config'. Options follow the command"),
        ("check-config c.yaml", "Got unexpected extra argument (c.yaml). Write --config c.yaml."),
        ("status in", "Got unexpected extra argument (in)"),
        ("version c.yaml", "Got unexpected extra argument (c.yaml)\n"),
    ],
)
def test_options_of_other_tools_and_in_other_places_have_a_hint(tree: Cli, typed: str, text: str) -> None:
    result = tree(*typed.split())
    assert (result.code, text in result.err) == (ExitCode.USAGE, True), result.err


def test_a_closed_standard_input_is_no_empty_object(tree: Cli) -> None:
    """The object that is there must not give way to one without bytes."""
    done = run(f"{SKYFERRY} copy - in/b/a.txt <&-")
    assert (done.returncode, "standard input: it cannot be read" in done.stderr) == (1, True)
    assert Path("in/b/a.txt").read_bytes() == b"a"
    for option in ("--files-from", "--filter-from"):
        done = run(f"{SKYFERRY} copy in out {option} - <&-")
        assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr


def test_an_absent_object_is_named_as_it_was_typed(tree: Cli) -> None:
    result = tree("head", "in/b/absent")
    assert (result.code, "in/b/absent: there is no such object" in result.err) == (1, True)


def test_the_root_is_a_folder(tree: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container, the current folder is often the root."""
    entry = next(each for each in sorted(os.listdir("/")) if os.path.isdir(f"/{each}"))
    assert tree("copy", "/", "out").code == ExitCode.USAGE
    result = tree("copy", f"/{entry}-absent", "out")
    assert (result.code, "does not exist" in result.err) == (1, True)
    result = tree("head", f"/{entry}-absent")
    assert (result.code, "there is no such object" in result.err) == (1, True)
    assert locate_object("/", Settings()).identity == locate_object("/.", Settings()).identity
    monkeypatch.chdir("/")
    assert locate_object("a", Settings()).path == Path("/")


def test_a_key_of_a_list_that_is_no_key_has_a_hint(tree: Cli) -> None:
    """Such as what `find .` prints."""
    result = tree("copy", "in", "out", "--files-from", "-", stdin=b"./b/a.txt\n")
    assert (result.code, "without ./" in result.err) == (ExitCode.DEAD_LETTERS, True)


def test_a_current_folder_that_was_removed_is_reported(tree: Cli) -> None:
    for command in ("status", "ls .", "copy a b"):
        done = run(f"mkdir gone; cd gone; rmdir ../gone; {SKYFERRY} {command}")
        assert (done.returncode, done.stderr) == (
            1,
            "error: the current folder no longer exists (change to another one)\n",
        )


def test_too_few_open_files_are_refused_at_once(tree: Cli) -> None:
    """A folder keeps its locks open, so a copy would wait for descriptors that are never free again."""
    done = run(f"ulimit -n 64; {SKYFERRY} copy in out")
    assert (done.returncode, "this process may open only 64 files" in done.stderr) == (2, True)
    assert run(f"ulimit -n 128; {SKYFERRY} copy in out").returncode == 0


@pytest.mark.parametrize(
    ("name", "text"), [("mv", "after_copy: delete"), ("rm", "--delete"), ("mkdir", "makes the folders")]
)
def test_a_command_of_other_tools_that_is_absent_has_a_hint(cli: Cli, name: str, text: str) -> None:
    result = cli(name, "s3://b/a")
    assert (result.code, f"No such command '{name}'. " in result.err, text in result.err) == (2, True, True)
