"""`skyferry copy`, `ls`, `head` and `conformance` between folders; tests/cloud_e2e has the clouds."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from tests.cli.conftest import Cli

from skyferry.cli.arguments.object_urls import locate_object
from skyferry.cli.exit_codes import ExitCode
from skyferry.config.settings import Settings, StoreSettings
from skyferry.errors import ConfigError
from skyferry.stores.local import flushing


@pytest.fixture
def tree() -> dict[str, bytes]:
    """Files in `in`, some of them with names that want escaping."""
    files = {"a.txt": b"a", "b/c d.txt": b"cd", "b/large.bin": os.urandom(9 * 2**20), "b/ü+%41": b"", "z/z": b"z"}
    for name, data in files.items():
        Path("in", name).parent.mkdir(parents=True, exist_ok=True)
        Path("in", name).write_bytes(data)
    return files


def held(folder: str) -> dict[str, bytes]:
    files = (p for p in Path(folder).rglob("*") if p.is_file() and ".skyferry" not in p.parts)
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def test_a_folder_arrives_whole_and_a_second_run_has_nothing_to_do(cli: Cli, tree: dict[str, bytes]) -> None:
    first = cli("copy", "in", "out", "--json").json()
    assert (first["complete"], first["objects"]["copied"], first["bytes"]["copied"]) == (
        True,
        5,
        sum(map(len, tree.values())),
    )
    assert held("out") == tree
    second = cli("copy", "in", "out", "--json").json()
    assert (second["complete"], second["objects"]["copied"], second["objects"]["present"]) == (True, 0, 5)


def test_what_changed_or_went_missing_is_copied_again(cli: Cli, tree: dict[str, bytes]) -> None:
    cli("copy", "in", "out")
    Path("in/a.txt").write_bytes(b"new")
    Path("out/z/z").unlink()
    Path("out/b/c d.txt").write_bytes(b"somebody wrote over it")
    again = cli("copy", "in", "out", "--json").json()
    assert (again["objects"]["copied"], again["objects"]["present"]) == (3, 2)
    assert held("out") == {**tree, "a.txt": b"new"}


def test_the_old_name_of_ignore_ledger_is_accepted_with_a_warning(cli: Cli, tree: dict[str, bytes]) -> None:
    cli("copy", "in", "out")
    told = cli("copy", "in", "out", "--ignore-ledger", "--json")
    assert (told.json()["complete"], "--again" in told.err) == (True, False)
    told = cli("copy", "in", "out", "--again", "--json")
    assert told.json()["complete"]
    assert "warning: --again is now called --ignore-ledger; the old name is accepted until 1.0" in told.err
    told = cli("copy", "in", "out", "--again", "--ignore-ledger")
    assert (told.code, "--again is the old name of --ignore-ledger" in told.err) == (ExitCode.USAGE, True)


def test_what_cannot_be_listed_is_named_and_ends_with_3(cli: Cli, tree: dict[str, bytes]) -> None:
    Path(os.fsdecode(b"in/b/\xff")).write_bytes(b"no key can be so named")
    told = cli("copy", "in", "out")
    assert (told.code, held("out")) == (3, tree)
    assert "1 object did not arrive" in told.err


def test_links_and_fifos_are_counted_and_skipped(cli: Cli, tree: dict[str, bytes]) -> None:
    """They are no objects, so all that is listed has arrived."""
    Path("in/link").symlink_to("a.txt")
    os.mkfifo("in/b/pipe")
    told = cli("copy", "in", "out")
    assert (told.code, held("out")) == (0, tree)
    assert "2 skipped (links, FIFOs, sockets, devices)" in told.out
    assert cli("copy", "in", "out", "--json").json()["objects"]["special"] == 2


def test_a_link_ends_the_copy_where_the_store_says_so(cli: Cli, tree: dict[str, bytes]) -> None:
    Path("in/link").symlink_to("a.txt")
    Path("skyferry.yaml").write_text("stores: {in: {url: 'file://in', special_files: fail}}")
    told = cli("copy", "in", "out", "--config", "skyferry.yaml", "--workspace", ".")
    assert told.code == ExitCode.FAILED
    assert "link is a symlink, and special_files is fail" in told.err


def test_copies_that_a_power_cut_took_are_made_again(
    cli: Cli, tree: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without flushes, the ledger may have a copy that the disk has not: the next run compares names and sizes."""
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    monkeypatch.setattr(flushing, "flush", flushed.append)
    monkeypatch.setattr(flushing.Filesystem, "flush", flushed.append)
    assert cli("copy", "in", "out", "--no-fsync", "--json").json()["objects"]["copied"] == 5
    assert not flushed

    Path("out/a.txt").write_bytes(b"")  # its size was not written
    Path("out/z/z").unlink()  # nor this name
    again = cli("copy", "in", "out", "--json").json()
    assert (again["objects"]["copied"], again["objects"]["present"]) == (2, 3)
    assert held("out") == tree
    assert flushed


def test_a_configured_folder_has_its_own_fsync(
    cli: Cli, tree: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    Path("skyferry.yaml").write_text("stores: {out: {url: 'file://out', fsync: false}}")
    assert cli("copy", "in", "out/below", "--config", "skyferry.yaml", "--workspace", ".").code == 0
    assert held("out/below") == tree
    assert not flushed


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        (["in", "s3://bucket/"], "--no-fsync is for folders"),
        (["-", "out/a"], "--no-fsync has no effect with -"),
    ],
)
def test_no_fsync_is_refused_where_it_means_nothing(
    cli: Cli, tree: dict[str, bytes], ends: list[str], message: str
) -> None:
    result = cli("copy", *ends, "--no-fsync")
    assert result.code != 0
    assert message in result.err


def test_it_goes_back_where_it_came_from(cli: Cli, tree: dict[str, bytes]) -> None:
    """A restore is no loop."""
    cli("copy", "in", "out")
    Path("in/b/large.bin").unlink()
    assert cli("copy", "out", "in", "--json").json()["complete"]
    assert held("in") == tree


def test_one_file_goes_to_a_name_or_into_a_folder(cli: Cli, tree: dict[str, bytes]) -> None:
    assert cli("copy", "in/a.txt", "other.txt").code == 0
    assert cli("copy", "in/a.txt", "folder/").code == 0
    assert (Path("other.txt").read_bytes(), Path("folder/a.txt").read_bytes()) == (b"a", b"a")


def test_what_does_not_arrive_is_named_and_ends_with_3(cli: Cli, tree: dict[str, bytes]) -> None:
    Path("out").mkdir()
    Path("out/z").write_bytes(b"a file where a folder has to be")
    result = cli("copy", "in", "out")
    assert result.code == ExitCode.DEAD_LETTERS
    assert "failed: z/z" in result.err
    assert len(re.findall(r"\(", next(line for line in result.err.splitlines() if line.startswith("failed:")))) <= 1
    assert {name: data for name, data in held("out").items() if name != "z"} == {
        k: v for k, v in tree.items() if k != "z/z"
    }


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("absent", "out"), 1, "absent: the file or folder does not exist"),
        (("in", "in"), 2, "are the same"),
        (("in/a.txt", "in"), 2, "are the same"),
        (("in/a.txt", "in/a.txt"), 2, "are the same"),
        (("in/*", "in/"), 2, "are the same"),
        (("s3://b/d/x", "s3://b/d/"), 2, "are the same"),
        (("s3://b/d/*", "s3://b/d/"), 2, "are the same"),
        (("in", "in/new/"), 2, "inside the source"),
        (("in", "s3://b?secret_key=hunter2"), 2, "remove the secret from the URL"),
        (("in", "s3://b/k?endpoint=http://example.org"), 2, "without TLS"),
        (("in", "memory://x"), 2, "works only in a configuration"),
    ],
)
def test_what_cannot_work_is_said_at_once(
    cli: Cli, tree: dict[str, bytes], arguments: tuple[str, str], code: int, message: str
) -> None:
    result = cli("copy", *arguments)
    assert (result.code, message in result.err, "hunter2" in result.err) == (code, True, False)


def test_ls_and_head_show_what_is_there(cli: Cli, tree: dict[str, bytes]) -> None:
    listed = cli("ls", "in", "--limit", "2", "--json").out.splitlines()
    assert [orjson.loads(line)["key"] for line in listed] == ["a.txt", "b/c d.txt"]
    rest = cli("ls", "in", "--after", "b/c d.txt", "--json").out.splitlines()
    assert [orjson.loads(line)["key"] for line in rest] == ["b/large.bin", "b/ü+%41", "z/z"]
    assert cli("head", "in/b/large.bin", "--json").json()["size"] == 9 * 2**20
    assert cli("head", "in/absent").code == 1
    cli("copy", "in/b/large.bin", "copied/")
    rows = dict(
        line.split(maxsplit=1) for line in cli("head", "copied/large.bin").out.replace("metadata ", "").splitlines()
    )
    assert rows["size"] == str(9 * 2**20)
    assert rows["skyferry-source"].endswith("large.bin")
    assert "z/z" in cli("ls", "in").out


def test_conformance_leaves_nothing_behind(cli: Cli, tree: dict[str, bytes]) -> None:
    result = cli("conformance", "in", "--objects", "20", "--json")
    document = result.json()
    outcomes = {each["name"]: each["outcome"] for each in document["results"]}
    assert outcomes["test_what_is_written_is_read"] == "passed"
    assert result.code == (1 if "failed" in outcomes.values() else 0)
    assert document["traits"]["create_only"] is True
    assert held("in") == tree


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_conformance_that_is_ended_leaves_nothing_behind(cli: Cli, tree: dict[str, bytes], number: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "skyferry", "conformance", "in"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        while held("in") == tree:
            assert running.poll() is None
        running.send_signal(number)
        assert running.wait() == ExitCode.INTERRUPTED
    assert held("in") == tree


@pytest.mark.parametrize(
    ("text", "url", "key"),
    [
        ("s3://b", "s3://b", ""),
        ("s3://b/", "s3://b", ""),
        ("s3://b/a%20b/c?region=eu", "s3://b?region=eu", "a b/c"),
        ("s3://b//x", "s3://b", "/x"),
        ("gs://b/k", "gs://b", "k"),
        ("az://acct/box/k/l", "az://acct/box", "k/l"),
        ("az://box/k?endpoint=https://h", "az://box?endpoint=https://h", "k"),
        ("s3://known/k", "s3://known?region=eu-west-1", "k"),
    ],
)
def test_a_url_names_a_store_and_a_key(text: str, url: str, key: str) -> None:
    settings = Settings(stores={"mine": StoreSettings(url="s3://known?region=eu-west-1")})
    found = locate_object(text, settings)
    assert (found.store.url, found.key) == (url, key)


def test_a_scheme_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="not a known store URL"):
        locate_object("ftp://x/y", Settings())
