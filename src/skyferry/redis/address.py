"""The address of a Redis. Pure: settings are checked with it, so it imports no driver."""

from __future__ import annotations

from skyferry.config.servers.address import ServerAddress, parse_server, require_names, require_server_tls
from skyferry.frozen import dataclass

PORT = 6379
SENTINEL_PORT = 26379
VARIABLE = "REDIS_PASSWORD"
OPTIONS = frozenset({"db", "cluster", "sentinel", "sentinel_secret_file"})
DIGITS = 3  # of a name that is meant as the number of a database, rather than as a name


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """A server or cluster, or the sentinels of a server, and a database of the server."""

    server: ServerAddress
    tls: bool
    database: int
    is_cluster: bool
    sentinel: str = ""  # the name of the primary at the sentinels, which the hosts are; "" = they are servers
    sentinel_secret_file: str = ""  # with the password of the sentinels; "" = that of the server


def parse_redis(url: str, form: str, *, names: int, allow_plain: bool) -> RedisAddress:
    """Parse `redis[s]://[USER@]HOST[:PORT]/NAME…?db=NUMBER&cluster=on`, with `names` names. Raises ValueError.

    With `sentinel=PRIMARY` the hosts are sentinels.
    """
    server, tls = parse_server(url, PORT, form), url.startswith("rediss://")
    if sentinel := server.option("sentinel"):
        server = parse_server(url, SENTINEL_PORT, form)
    require_names(server, names, form)
    if not tls:
        require_server_tls(server, "rediss://", allowed=allow_plain)
    for name in server.path:
        if name.isascii() and name.isdigit() and len(name) <= DIGITS:
            raise ValueError(
                f"/{name} in the URL is a name, not the number of a database; use another name, such as ferry?db={name}"
            )
    database, cluster = server.option("db", "0"), server.option("cluster", "off")
    if not (database.isascii() and database.isdigit()):
        raise ValueError(f"option db: {database!r} is no number")
    if cluster not in ("on", "off"):
        raise ValueError(f"option cluster: {cluster!r} is neither on nor off")
    if cluster == "on" and int(database):
        raise ValueError("a cluster has no databases: remove db, or cluster")
    if cluster == "on" and sentinel:
        raise ValueError("a cluster has no sentinels: remove sentinel, or cluster")
    secret_file = server.option("sentinel_secret_file")
    if not sentinel and (secret_file or "sentinel" in dict(server.options)):
        raise ValueError(
            "option sentinel: the name of the primary at the sentinels is missing, such as sentinel=mymaster"
        )
    if cluster == "off" and len(server.hosts) > 1 and not sentinel:
        raise ValueError(
            "the URL lists several hosts: add cluster=on if they are a cluster, or sentinel=PRIMARY if they are sentinels"
        )
    return RedisAddress(server, tls, int(database), cluster == "on", sentinel, secret_file)
