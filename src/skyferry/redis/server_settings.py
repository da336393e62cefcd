"""Settings of a server that break the promises of a ledger. Permissions: INFO, CONFIG GET, TIME."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from skyferry.errors import SkyferryError
from skyferry.ports.inspection import Wrong
from skyferry.redis.client import Client, RedisClient

OLDEST = (6, 2)
NAMES = (
    *("maxmemory-policy", "appendonly", "appendfsync", "no-appendfsync-on-rewrite", "save"),
    *("min-replicas-to-write", "maxclients"),
)
SPARE = 20  # connections of one worker: to the ledger, to a queue, and for waiting
UNREADABLE = "unreadable"
FULL = 0.9  # of maxmemory, from which on a warning is due


async def read_server_settings(client: RedisClient[Any]) -> dict[str, str]:
    """Return what the server reports. Where CONFIG is denied, as managed services do, `unreadable` is set.

    Raises the client's error if the server is unreachable.
    """
    await client.run(lambda redis: redis.ping())
    found: dict[str, str] = {}
    try:
        info = await client.run(lambda redis: redis.info("everything"))
        if client.address.is_cluster:  # one answer for each member
            info = next((each for each in info.values() if isinstance(each, dict)), info)
        found |= {name: str(value) for name, value in info.items() if not isinstance(value, dict)}
    except SkyferryError as error:
        found[UNREADABLE] = error.message
    try:
        for name in NAMES:
            answer = await client.run(partial(_get_setting, name=name))
            found[name] = str(answer.get(name, ""))
    except SkyferryError as error:
        found[UNREADABLE] = error.message
    return found


async def _get_setting(redis: Client, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = await redis.config_get(name)
    return found


def check_server_settings(found: Mapping[str, str]) -> Iterator[Wrong]:
    """Yield what is wrong with a server that has a ledger. Pure."""
    version = found.get("redis_version", "")
    if version and tuple(map(int, version.split(".")[:2])) < OLDEST:
        yield Wrong(f"Redis {version} is too old", "Use Redis 6.2 or newer, or Valkey.")
    if found.get("role") == "slave":
        yield Wrong("the server is a replica, which accepts no writes", "Name the primary in the URL.")
    if UNREADABLE in found:
        hint = "Check at the provider that nothing is evicted (noeviction), and that an append-only file is kept."
        yield Wrong(f"the settings of the server cannot be read: {found[UNREADABLE]}", hint)
        return
    if (policy := found.get("maxmemory-policy", "")) != "noeviction":
        what = f"maxmemory-policy is {policy}: records may be deleted when memory is short"
        yield Wrong(what, "Set maxmemory-policy noeviction.", loses=True)
    yield from _check_persistence(found)
    yield from find_full_memory(found, "the ledger cannot be written", "Raise maxmemory, or shorten ledger.retention.")
    yield from find_refusals(found)
    if int(found.get("connected_slaves", "0")) and found["min-replicas-to-write"] == "0":
        what = "min-replicas-to-write is 0: a primary that is cut off confirms what its replicas never get"
        yield Wrong(what, "Set min-replicas-to-write 1.")


def find_refusals(found: Mapping[str, Any]) -> Iterator[Wrong]:
    """Yield the settings by which the server refuses writes or connections now, from its INFO and its settings. Pure."""
    wanted, good = int(found.get("min-replicas-to-write") or 0), int(found.get("min_slaves_good_slaves", 0))
    if good < wanted and found.get("role") != "slave":
        what = f"min-replicas-to-write is {wanted}, and {good} replicas follow: the server refuses all writes"
        yield Wrong(what, "Start the replicas, or lower min-replicas-to-write.")
    most, used = int(found.get("maxclients") or 0), int(found.get("connected_clients", 0))
    if most and most - used < SPARE:
        yield Wrong(f"{used} of {most} connections are in use, and a worker needs up to {SPARE}", "Raise maxclients.")


def find_late_writes(found: Mapping[str, Any]) -> Iterator[Wrong]:
    """Yield what is wrong if the append-only file is not flushed while it is rewritten. Pure."""
    if found.get("appendonly") == "yes" and found.get("no-appendfsync-on-rewrite") == "yes":
        what = "no-appendfsync-on-rewrite is yes: a crash of the machine loses what was written during a rewrite of the file"
        yield Wrong(what, "Set no-appendfsync-on-rewrite no.")


def find_full_memory(info: Mapping[str, Any], then: str, hint: str) -> Iterator[Wrong]:
    """Yield what is wrong if the memory is nearly full. `then`: what happens once it is full. Pure."""
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    if most and used > FULL * most:
        yield Wrong(f"{used / most:.0%} of maxmemory is in use: {then} once it is full", hint)


def _check_persistence(found: Mapping[str, str]) -> Iterator[Wrong]:
    if found["appendonly"] == "no" and not found["save"]:
        yield Wrong("nothing is written to disk: a restart loses the ledger", "Set appendonly yes.", loses=True)
    elif found["appendonly"] == "no":
        what = "only snapshots are written: a crash loses the records since the last one"
        yield Wrong(what, "Set appendonly yes.", loses=True)
    elif found.get("aof_last_write_status", "ok") != "ok":
        yield Wrong(
            "the server could not write its append-only file", "Free space on its disk; see its log.", loses=True
        )
    elif found["appendfsync"] != "always":
        lost = "the records of the last second" if found["appendfsync"] == "everysec" else "records"
        yield Wrong(
            f"appendfsync is {found['appendfsync']}: a crash of the machine loses {lost}", "Set appendfsync always."
        )
    yield from find_late_writes(found)


def describe_version(found: Mapping[str, str]) -> str:
    """Return the name and the version of the server, for people."""
    if "valkey_version" in found:
        return f"Valkey {found['valkey_version']}"
    return f"Redis {found.get('redis_version', 'of an unknown version')}"


def describe_durability(found: Mapping[str, str]) -> str:
    """Return what survives a crash of the server, for people."""
    if not (kept := found.get("appendonly")):
        return "not readable here"
    if kept == "no":
        return "snapshots" if found.get("save") else "none"
    return f"append-only file, appendfsync {found.get('appendfsync', 'unknown')}"


async def measure_skew(client: RedisClient[Any]) -> float:
    """Return the seconds by which the clock of the server is ahead. Raises the client's error."""
    before = time.time()
    seconds, microseconds = await client.run(lambda redis: redis.time())
    return float(seconds) + float(microseconds) / 1e6 - (before + time.time()) / 2
