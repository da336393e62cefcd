"""Commands that only read enter nothing in the ledger."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest
from tests.cli.commands.ledger.test_servers import configure

from skyferry.testing.servers import PostgresServer

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

COMMANDS = (
    ["status"],
    ["transfers"],
    ["explain", "report.pdf"],
    ["dead-letters", "list"],
    ["deletes", "list"],
    ["workers"],
)


def dump(file: Path) -> list[str]:
    """Return the content, with the last number of each sequence."""
    with closing(sqlite3.connect(file)) as db:
        return [*db.iterdump()]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_file_is_as_it_was(filled: Cli, command: list[str]) -> None:
    (file,) = Path().rglob("ledger.db")
    before = dump(file)
    assert filled(*command).code in (0, 1)
    assert dump(file) == before
    assert filled("dead-letters", "discard", "--all", "--yes").code == 0
    assert dump(file) != before, "a command that writes does enter"


def test_a_database_enters_none_of_them(
    postgres_server: PostgresServer, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", postgres_server.password)
    url = f"postgresql://{postgres_server.user}@{postgres_server.address}/{postgres_server.create_database()}"

    async def find_last() -> object:
        """Return the transaction of the last owner that left: each changes the row of those that have ended."""
        db = await asyncpg.connect(url, password=postgres_server.password)
        try:
            return await db.fetchval("SELECT xmin::text FROM skyferry.owners WHERE id = 0")
        finally:
            await db.close()

    configure(url)
    assert cli("ledger", "migrate", "--create").code == 0
    before = asyncio.run(find_last())
    for command in COMMANDS:
        assert cli(*command).code in (0, 1)
    assert asyncio.run(find_last()) == before
    assert cli("dead-letters", "discard", "--all", "--yes").code == 1, "there are none"
    assert asyncio.run(find_last()) != before
