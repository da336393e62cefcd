"""`deletes`: from a folder that is not there to a decision."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

SOURCE, COPIES = Path("skyferry-data/source"), Path("skyferry-data/destination")


@pytest.fixture
def run(cli: Cli) -> Cli:
    """Runs the service until it is idle; three objects are copied, then the folder is an empty one."""

    def once(*arguments: str) -> object:
        return cli("run", "--until-idle", "--listen", "127.0.0.1:0", *arguments)

    SOURCE.mkdir(parents=True)
    for name in "abc":
        (SOURCE / name).write_bytes(b"precious")
    once()
    SOURCE.rename("elsewhere")
    once()
    return once  # type: ignore[return-value]  # called without looking at what it gives


def copies() -> list[str]:
    return sorted(path.name for path in COPIES.iterdir() if not path.name.startswith("."))


def test_held_deletes_are_shown_everywhere(run: Cli, cli: Cli) -> None:
    assert copies() == ["a", "b", "c"]
    assert cli("status", "--json").json()["held_deletes"] == {"source": 3}
    assert "held       3 deletes of source: skyferry deletes list" in cli("status").out
    document = cli("deletes", "list", "--json").json()
    assert document["counts"] == [{"store": "source", "reason": "replaced", "count": 3}]
    assert [item["source"]["key"] for item in document["items"]] == ["c", "b", "a"]
    assert document["items"][0]["id"] in cli("deletes", "list").out
    assert "✗ no deletes wait for approval: 3 objects are missing" in cli("doctor").out
    assert cli("deletes", "approve").code == 2


def test_approved_ones_are_deleted_and_the_rest_stays_rejected(run: Cli, cli: Cli) -> None:
    (a, *_) = [i["id"] for i in cli("deletes", "list", "--prefix", "a", "--json").json()["items"]]
    assert cli("deletes", "approve", a).out == "1 delete approved\n"
    assert cli("deletes", "reject", "--all", "--json").json() == {"count": 2}
    assert cli("deletes", "reject", "--all").code == 1
    run()
    assert copies() == ["b", "c"]
    assert cli("deletes", "list").out == "no held deletes\n"


def test_what_is_back_is_not_deleted(run: Cli, cli: Cli) -> None:
    cli("deletes", "approve", "--all")
    shutil.rmtree(SOURCE)
    Path("elsewhere").rename(SOURCE)
    run()
    assert copies() == ["a", "b", "c"]


def test_an_unknown_id_among_known_ones_is_named(run: Cli, cli: Cli) -> None:
    (a, *_) = [i["id"] for i in cli("deletes", "list", "--json").json()["items"]]
    result = cli("deletes", "approve", a, "ffff")
    assert (result.code, result.out) == (1, "1 delete approved\n")
    assert result.err == "error: ffff: 1 delete does not exist (`skyferry deletes list` shows what there is)\n"
