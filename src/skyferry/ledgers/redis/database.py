"""The keys and the scripts of a ledger."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from skyferry.errors import LedgerDamaged, LedgerError, LedgerIncompatible
from skyferry.ledgers.server_health import OnHealth, ServerHealth, Side
from skyferry.redis.client import RedisClient
from skyferry.redis.scripts import LuaScript
from skyferry.sql.schema_steps import SchemaHistory, SchemaStep, SchemaVersion

STEPS = (
    SchemaStep(1, False, "keys", ""),
    SchemaStep(2, False, "compressed records", ""),  # programs can read them
    SchemaStep(2, True, "compressed records", ""),  # programs write them
)
HISTORY = SchemaHistory("ledger", "counters", LedgerIncompatible, STEPS)  # of the layout of the keys
VERSION = HISTORY.known
KEYS = (
    *("transfers", "failures"),  # hashes by transfer
    *("claimed", "retry", "done", "skipped", "dead", "discarded"),  # transfers by state and time
    *("keys", "places", "placed"),  # transfers by key; destinations; those with an object, by source bucket and key
    *("letters", "letters_at", "letters_redriven", "letters_unpublished", "letters_causes", "letters_buckets"),
    *("uploads", "uploads_at", "uploads_places", "uploads_names", "parts"),
    *("refusals", "refusals_at", "refusals_keys"),
    *("held_deletes", "held", "approved", "rejected", "held_counts", "identities"),
    *("workers", "workers_until", "roles", "counters", "rates", "breakers"),
)
CLOCK = "redis.call('TIME')"
READS = re.compile(r"queries\.|\w+\.(get|list|find|count|version|unrouted|take$)")  # of scripts; `take` may write
FILES = ("claims", "letters", "queries", "uploads", "housekeeping", "workers", "limits")


def load_scripts(clock: str = CLOCK, folder: Traversable | None = None) -> Mapping[str, LuaScript]:
    """Return the scripts by `FILE.NAME`. Tests replace `clock`, the expression of the time, and the folder."""
    folder = folder or files(__package__).joinpath("lua")
    head = (
        f"local {', '.join(KEYS)} = unpack(KEYS)\n"
        f"local time = {clock}\n"
        "local now = time[1] * 4194304 + math.floor(time[2] * 4194304 / 1000000)\n"
    )
    head += folder.joinpath("records.lua").read_text("utf-8")
    found = {}
    for file in FILES:
        _, *sections = folder.joinpath(f"{file}.lua").read_text("utf-8").split("-- name: ")
        for name, _, body in (section.partition("\n") for section in sections):
            found[f"{file}.{name.strip()}"] = LuaScript(head + body)
    return found


def ledger_keys(client: RedisClient[LedgerError]) -> tuple[str, ...]:
    """Return the names of all keys of the ledger."""
    name = client.address.server.path[0]
    tag = name if "{" in name else f"{{{name}}}"
    return tuple(f"{tag}:ledger:{key}" for key in KEYS)


def find_side(name: str) -> Side:
    """Return "read" if a script may succeed at a server that refuses changes."""
    return "read" if READS.match(name) else "write"


class RedisDatabase:
    """Runs scripts on the keys of one ledger, all of which are in one slot of a cluster."""

    def __init__(self, client: RedisClient[LedgerError], on_health: OnHealth, scripts: Mapping[str, LuaScript]) -> None:
        self._client, self._scripts, self._on_health = client, scripts, on_health
        self._health = ServerHealth(on_health, lambda: client.closed)
        self.name = f"ledger {client.address.server.path[0]}"
        self.keys = ledger_keys(client)
        self.at = SchemaVersion(VERSION, 1)  # as of the last check

    @property
    def closed(self) -> bool:
        """True after `close`."""
        return self._client.closed

    async def run(self, name: str, *arguments: object) -> Any:
        """Run a script as one atomic step. Raises LedgerError."""
        return await self.send(name, arguments)

    async def send(self, name: str, arguments: Sequence[object]) -> Any:
        """Run a script with many arguments. Raises LedgerIncompatible once `check_compatible` has done so."""
        return await self._health.observe(self._send(name, arguments), find_side(name))

    async def ensure_ledger(self) -> None:
        """Make the ledger if it is missing, and expand an older one. Raises LedgerIncompatible if it is too new."""
        await self._health.observe(self._ensure_ledger(), "write")

    def check_compatible(self, found: Sequence[bytes | None]) -> None:
        """Raise LedgerIncompatible if the versions in an answer are too new for this program."""
        self.at = parse_version(self, found)
        HISTORY.check_compatible(self.at, self.name)

    def report_damage(self, error: LedgerDamaged) -> None:
        """Report a record that cannot be read, where the work goes on without it."""
        self._on_health(error)

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        await self._client.close()

    async def _send(self, name: str, arguments: Sequence[object]) -> Any:
        HISTORY.check_compatible(self.at, self.name)
        return await self._run_script(name, arguments)

    async def _ensure_ledger(self) -> None:
        vouched = min(self.at.compatible_from, VERSION)  # this program has written records of it
        self.check_compatible(await self._run_script("housekeeping.open", (VERSION, vouched)))

    async def _run_script(self, name: str, arguments: Sequence[object]) -> Any:
        script = self._scripts[name]
        return await self._client.run(lambda client: script.run(client, self.keys, arguments))


def parse_version(db: RedisDatabase, found: Sequence[bytes | None]) -> SchemaVersion:
    """Return the version of the layout; the default if there is no ledger."""
    said = [number or b"0" for number in found]
    if not all(number.isdigit() for number in said):
        problem = f"its version is {said[0]!r}, compatible from {said[1]!r}: no ledger of Skyferry's"
        raise LedgerIncompatible(problem, where=db.name, hint="Use another name in the URL.")
    return SchemaVersion(int(said[0]), int(said[1]))
