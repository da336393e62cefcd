"""The objects that `skyferry copy` chooses: filters, wildcards, lists of keys, and ways to compare."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.cli.conftest import Cli

from skyferry.cli.exit_codes import ExitCode


@pytest.fixture(autouse=True)
def tree(cli: Cli) -> None:
    write("in", {"a.txt": "a", "b.jpg": "b", "sub/c.jpg": "c", "tmp/d.jpg": "d"})


def write(folder: str, files: dict[str, str]) -> None:
    for name, text in files.items():
        Path(folder, name).parent.mkdir(parents=True, exist_ok=True)
        Path(folder, name).write_text(text)


def held(folder: str) -> dict[str, str]:
    """All files, even private ones."""
    return {str(p.relative_to(folder)): p.read_text("latin-1") for p in Path(folder).rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("options", "arrived"),
    [
        (["--include", "*.jpg"], {"b.jpg", "sub/c.jpg", "tmp/d.jpg"}),
        (["--include", "*.jpg", "--exclude", "tmp/"], {"b.jpg", "sub/c.jpg"}),
        (["--exclude", "*", "--include", "/*.jpg"], {"b.jpg"}),
        (["--filter", "+ /sub/**", "--filter", "- *.jpg"], {"a.txt", "sub/c.jpg"}),
        (["--filter-from", "rules"], {"a.txt"}),
    ],
)
def test_filters_choose_keys(cli: Cli, options: list[str], arrived: set[str]) -> None:
    Path("rules").write_bytes(b"\xef\xbb\xbf# of an editor on Windows\r\n\r\n- *.jpg\r\n")
    assert cli("copy", "in", "out", *options).code == 0
    assert set(held("out")) == arrived


def test_rules_come_from_standard_input(cli: Cli) -> None:
    assert cli("copy", "in", "out", "--filter-from", "-", stdin=b"- *.jpg").code == 0
    assert set(held("out")) == {"a.txt"}


def test_an_exclusion_that_names_a_folder_without_its_slash_is_reported(cli: Cli) -> None:
    """gitignore and rsync would exclude what is in it. Each is reported once, and only where there are such objects."""
    for key in ("tmp/a", "tmp/b", "x/tmp/c", "d"):
        Path("in", key).parent.mkdir(exist_ok=True, parents=True)
        Path("in", key).write_text(key)
    told = cli("copy", "in", "out", "--exclude", "tmp", "--exclude", "absent", "--exclude", "d", "--dry-run")
    assert told.err.splitlines() == [
        "--exclude 'tmp' excludes nothing in the folder of this name: write 'tmp/' for that"
    ]
    assert cli("copy", "in", "out", "--exclude", "tmp", "--quiet").err == ""
    for pattern in ("tmp/", "tmp/**", "*/a"):
        assert "in the folder" not in cli("copy", "in", "out", "--exclude", pattern).err


def test_a_filter_that_excludes_everything_says_so(cli: Cli) -> None:
    told = cli("copy", "in", "out", "--include", "*.png")
    assert (told.code, "the filters exclude all 4 objects of the source" in told.err) == (0, True)


@pytest.mark.parametrize(
    ("text", "arrived"),
    [
        ("in/*.jpg", {"b.jpg"}),
        ("in/**/*.jpg", {"b.jpg", "sub/c.jpg", "tmp/d.jpg"}),
        ("in/s*/*", {"sub/c.jpg"}),
        ("in/*", {"a.txt", "b.jpg"}),
    ],
)
def test_a_wildcard_chooses_keys(cli: Cli, text: str, arrived: set[str]) -> None:
    assert cli("copy", text, "out").code == 0
    assert set(held("out")) == arrived


def test_a_file_with_a_star_in_its_name_wins_over_the_wildcard(cli: Cli) -> None:
    write("in", {"*.jpg": "star"})
    assert cli("copy", "in/*.jpg", "out/").code == 0
    assert held("out") == {"*.jpg": "star"}
    assert cli("copy", f"file://{os.getcwd()}/in/%2A.jpg", "other/").code == 0
    assert held("other") == {"*.jpg": "star"}


def test_keys_come_from_a_list(cli: Cli) -> None:
    Path("keys").write_bytes(b"a.txt\r\n\r\n/sub/c.jpg\r\na.txt")
    assert cli("copy", "in", "out", "--files-from", "keys").code == 0
    assert set(held("out")) == {"a.txt", "sub/c.jpg"}
    assert cli("copy", "in", "other", "--files-from", "-", stdin=b"a.txt\0b.jpg\0").code == 0
    assert set(held("other")) == {"a.txt", "b.jpg"}


def test_a_listed_key_that_does_not_exist_is_named(cli: Cli) -> None:
    told = cli("copy", "in", "out", "--files-from", "-", stdin=b"a.txt\nabsent\n")
    assert (told.code, set(held("out"))) == (ExitCode.DEAD_LETTERS, {"a.txt"})
    assert "failed: absent: " in told.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--update", "--ignore-existing"], "--update and --ignore-existing contradict"),
        (["--checksum", "--size-only"], "--checksum and --size-only contradict"),
        (["-q", "-v"], "--quiet and --verbose contradict"),
        (["-q", "-P"], "--quiet and --progress contradict"),
        (["--delete", "--files-from", "keys"], "--delete and --files-from contradict"),
        (["--max-delete", "5"], "--max-delete has no effect without --delete"),
        (["--delete", "--max-delete", "many"], "--max-delete: 'many'"),
        (["--files-from", "absent"], "absent: --files-from: No such file"),
        (["--filter-from", "absent"], "absent: --filter-from: No such file"),
        (["--filter-from", "keys"], "keys, line 1: 'a.txt' is no rule"),
        (["--filter-from", "-", "--files-from", "-"], "only one option can read standard input"),
        (["--exclude", ""], "--exclude: the pattern is empty"),
        (["--bwlimit", "10"], "has no unit"),
        (["--bwlimit", "08:00,512k"], "is not a rate"),
        (["--unfit", "encod"], "--unfit: 'encod' is not understood"),
        (["--unfit", "tags=drop,header=drop"], "--unfit: 'header=drop' is not understood"),
        (["--unfit", ""], "--unfit: '' is not understood"),
        (["--folder-markers", "make"], "--folder-markers: 'make' is not understood"),
        (["third"], "copy takes one source and one destination"),
    ],
)
def test_options_that_cannot_work_are_refused(cli: Cli, options: list[str], message: str) -> None:
    Path("keys").write_text("a.txt\n")
    told = cli("copy", "in", "out", *options)
    assert (told.code, message in told.err) == (ExitCode.USAGE, True), told.err
    assert not Path("out").exists()


def test_what_cannot_be_a_list_is_refused(cli: Cli) -> None:
    for data, message in ((b"\xff\n", "line 1 is not UTF-8"), (b"a.txt\n" * 20_000 + b"\0\n", "NUL character")):
        told = cli("copy", "in", "out", "--files-from", "-", stdin=data)
        assert (told.code, message in told.err) == (ExitCode.USAGE, True), told.err


def test_objects_are_compared_by_content(cli: Cli) -> None:
    """The ledger knows nothing of one object, and wrongly believes that another one is there."""
    cli("copy", "in", "out", "--exclude", "b.jpg")
    write("out", {"a.txt": "X", "b.jpg": "b"})
    told = cli("copy", "in", "out", "--json").json()
    assert told["objects"]["copied"] == 1, "b.jpg, which is not known; a.txt has its size"
    write("out", {"a.txt": "X", "b.jpg": "b"})
    told = cli("copy", "in", "out", "--checksum", "--json").json()
    assert (told["objects"]["copied"], told["objects"]["present"], held("out")["a.txt"]) == (1, 3, "a")


def test_objects_are_compared_by_size(cli: Cli) -> None:
    write("out", {"a.txt": "X", "b.jpg": "longer"})
    told = cli("copy", "in", "out", "--size-only", "--json").json()
    assert (told["objects"]["copied"], told["objects"]["present"]) == (3, 1)
    assert (held("out")["a.txt"], held("out")["b.jpg"]) == ("X", "b")


def test_newer_objects_stay(cli: Cli) -> None:
    write("out", {"a.txt": "newer", "b.jpg": "older"})
    os.utime("out/b.jpg", (1, 1))
    told = cli("copy", "in", "out", "--update", "--json").json()
    assert (told["complete"], told["objects"]["kept"], told["objects"]["copied"]) == (True, 1, 3)
    assert (held("out")["a.txt"], held("out")["b.jpg"]) == ("newer", "b")


def test_existing_objects_stay(cli: Cli) -> None:
    write("out", {"a.txt": "X"})
    told = cli("copy", "in", "out", "--ignore-existing")
    assert (told.code, held("out")["a.txt"], held("out")["b.jpg"]) == (0, "X", "b")
    assert "3 objects copied" in told.out
    assert "1 kept as they are at the destination" in told.out


def test_verbose_names_each_object_and_quiet_says_nothing(cli: Cli) -> None:
    told = cli("copy", "in", "out", "-v")
    assert {line.split()[1] for line in told.err.splitlines()} == {"a.txt", "b.jpg", "sub/c.jpg", "tmp/d.jpg"}
    told = cli("copy", "in", "other", "-q", "--transfers", "1", "--bwlimit", "1M")
    assert (told.code, told.out, told.err, len(held("other"))) == (0, "", "", 4)
