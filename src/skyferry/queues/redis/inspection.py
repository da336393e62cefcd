"""The facts that `doctor` checks of a Redis Stream. Permissions: INFO, CONFIG GET, XINFO."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from skyferry.errors import QueueError
from skyferry.ports.inspection import QueueFacts, Unknown, Wrong
from skyferry.queues.redis.scheme import TRAITS
from skyferry.redis.client import RedisClient
from skyferry.redis.server_settings import NAMES, describe_durability, find_full_memory, find_late_writes, find_refusals

OLDEST = (6, 2)
GROUPLESS = "which the first start creates"


async def inspect(client: RedisClient[QueueError], keys: Sequence[str], group: str, list_key: str) -> QueueFacts:
    """See `InspectableQueue`. Raises QueueError."""
    stream = keys[0]
    await client.run(lambda redis: redis.ping())
    info = await _ask(client, lambda redis: redis.info("server"), {})
    replication = await _ask(client, lambda redis: redis.info("replication"), {})
    memory = await _ask(client, lambda redis: redis.info("memory"), {})
    clients = await _ask(client, lambda redis: redis.info("clients"), {})
    settings = {
        name: str((await _ask(client, lambda redis, n=name: redis.config_get(n), {})).get(name, "")) for name in NAMES
    }
    kind = await _ask(client, lambda redis: redis.type(stream), b"")
    groups = await _ask(client, lambda redis: redis.xinfo_groups(stream), []) if kind == b"stream" else []
    names = [each["name"].decode() for each in groups]
    filled = await _ask(client, lambda redis: redis.type(list_key), b"none") if list_key else b"none"
    wrong = [
        *_find_server_faults(info, replication, settings),
        *find_refusals({**replication, **clients, **settings}),
        *find_full_memory(memory, "no message can be sent", "Raise maxmemory, or receive what waits."),
        *_find_key_faults(kind, names, group, filled, list_key),
    ]
    user = client.address.server.user or "default"
    version = info.get("valkey_version") or info.get("redis_version")
    notes = (
        "TLS" if client.address.tls else "without TLS",
        *([f"the primary {client.address.sentinel} of these sentinels"] if client.address.sentinel else ()),
        f"{info.get('server_name', 'redis')} {version}" if version else "its version is not readable",
        f"{'' if names or kind == b'stream' else 'stream and '}group {group}"
        + ("" if group in names else f", {GROUPLESS}"),
        f"durability: {describe_durability(settings)}",
    )
    return QueueFacts(
        endpoint=client.address.server.shown,
        who=user,
        address=Unknown("MinIO names its targets by itself"),
        redrive=None,
        receives=Unknown("Redis does not report it"),
        encryption=Unknown("the disks of the server are not visible from here"),
        senders=Unknown("any user with XADD"),
        traits=TRAITS,
        notes=notes,
        wrong=tuple(wrong),
    )


async def may_send(client: RedisClient[QueueError], stream: str) -> bool | Unknown:
    """Return whether the user may add entries, by ACL DRYRUN of Redis 7. Raises QueueError if it cannot be reached."""
    await client.run(lambda redis: redis.ping())
    user = client.address.server.user or "default"
    said = await _ask(
        client, lambda redis: redis.execute_command("ACL", "DRYRUN", user, "XADD", stream, "*", "a", "b"), None
    )
    if said is None:
        return Unknown("Redis reports it from version 7 on, to users with ACL DRYRUN")
    return bool(said == b"OK")


async def _ask(client: RedisClient[QueueError], call: Any, otherwise: Any) -> Any:
    """Return the answer, or `otherwise` where it is denied: managed services have no CONFIG."""
    try:
        return await client.run(call)
    except QueueError:
        return otherwise


def _find_server_faults(
    info: Mapping[str, Any], replication: Mapping[str, Any], settings: Mapping[str, str]
) -> Iterator[Wrong]:
    version = str(info.get("redis_version", ""))
    if version and tuple(map(int, version.split(".")[:2])) < OLDEST:
        yield Wrong(f"Redis {version} is too old", "Use Redis 6.2 or newer, or Valkey.")
    if replication.get("role") == "slave":
        yield Wrong("the server is a replica, which accepts no messages", "Name the primary in the URL.")
    policy = settings["maxmemory-policy"]
    if policy and policy != "noeviction" and not policy.startswith("volatile"):
        yield Wrong(
            f"maxmemory-policy is {policy}: messages are deleted when memory is short",
            "Set maxmemory-policy noeviction.",
            loses=True,
        )
    if settings["appendonly"] == "no" and not settings["save"]:
        yield Wrong("nothing is written to disk: a restart loses all messages", "Set appendonly yes.", loses=True)
    elif settings["appendonly"] == "no":
        what = "only snapshots are written: a crash loses the messages since the last one"
        yield Wrong(what, "Set appendonly yes.", loses=True)
    elif settings["appendfsync"] == "no":
        yield Wrong("appendfsync is no: a power failure loses messages", "Set appendfsync everysec or always.")
    yield from find_late_writes(settings)


def _find_key_faults(kind: bytes, groups: Sequence[str], group: str, filled: bytes, list_key: str) -> Iterator[Wrong]:
    if kind not in (b"", b"none", b"stream"):
        hint = "Name another key, or give the list as ?list=KEY." if kind == b"list" else "Name another key."
        if kind == b"hash":
            hint = "Set format=access at MinIO, which fills a list, and add ?list=KEY."
        yield Wrong(f"the key is a {kind.decode()}, not a stream", hint)
    if others := [name for name in groups if name != group]:
        yield Wrong(
            f"group {', '.join(others)} reads the same stream, and acknowledged messages are deleted for all groups",
            "Give each group a stream of its own, or remove it: XGROUP DESTROY.",
        )
    if filled not in (b"none", b"list"):
        yield Wrong(f"{list_key} is a {filled.decode()}, not a list", "Set format=access at MinIO, or name its list.")
