"""The rights that a user of Redis lacks for a ledger, found without writing: before its first record as well as afterwards."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from skyferry.errors import LedgerError
from skyferry.ledgers.redis.database import FILES, ledger_keys
from skyferry.ledgers.redis.scheme import WRONG_TYPE
from skyferry.ports.inspection import Wrong
from skyferry.redis.client import Client, RedisClient
from skyferry.redis.scripts import LuaScript

# Servers before 7.0 have no such function. Returns the commands that may not be used at one key at least.
_CHECK = LuaScript(
    "local denied = {}\n"
    "if not redis.acl_check_cmd then return denied end\n"
    "for _, command in ipairs(ARGV) do\n"
    "  for _, key in ipairs(KEYS) do\n"
    "    if not redis.acl_check_cmd(command, key, '1', '1') then denied[#denied + 1] = command break end\n"
    "  end\n"
    "end\n"
    "return denied\n"
)
KINDS = (b"none", b"hash", b"zset")
_COMMAND = re.compile(r"'((?:H|Z)[A-Z]+)'")  # the ledger has hashes and sorted sets only


def list_commands() -> list[str]:
    """Return the commands of the scripts."""
    folder = files(__package__).joinpath("lua")
    texts = [folder.joinpath(f"{name}.lua").read_text("utf-8") for name in (*FILES, "records")]
    return sorted({found for text in texts for found in _COMMAND.findall(text)})


async def find_lacking_rights(client: RedisClient[LedgerError]) -> Iterator[Wrong]:
    """Return what the user may not do with the keys of the ledger. Raises LedgerError, also if it may not use the keys at all."""
    commands, keys = list_commands(), ledger_keys(client)
    found: list[bytes] = await client.run(lambda redis: _CHECK.run(redis, keys, commands))
    return _explain([name.decode() for name in found], client)


async def find_foreign_keys(client: RedisClient[LedgerError]) -> list[Wrong]:
    """Return the keys of the ledger that another program uses. Raises LedgerError."""
    keys = ledger_keys(client)

    async def read(redis: Client) -> list[bytes]:
        return [await redis.type(key) for key in keys]

    kinds = await client.run(read)
    found = [f"{key} is a {kind.decode()}" for key, kind in zip(keys, kinds, strict=True) if kind not in KINDS]
    return [Wrong(", ".join(found), WRONG_TYPE)] if found else []


def _explain(denied: list[str], client: RedisClient[Any]) -> Iterator[Wrong]:
    if not denied:
        return
    user, pattern = client.address.server.user or "default", f"{ledger_keys(client)[0].rpartition(':')[0]}:*"
    grant = " ".join(f"+{name.lower()}" for name in denied)
    what = f"user {user} may not use {', '.join(denied)} with the keys {pattern}"
    yield Wrong(what, f"Run: ACL SETUSER {user} ~{pattern} {grant}")
