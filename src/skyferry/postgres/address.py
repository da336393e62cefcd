"""The address of a database. Pure: settings are checked with it, so it imports no driver."""

from __future__ import annotations

from skyferry.config.servers.address import ServerAddress, parse_server, require_names, require_server_tls
from skyferry.frozen import dataclass

PORT = 5432
SSL_MODES = ("disable", "require", "verify-ca", "verify-full")  # as libpq has them
POOLERS = ("", "transaction")
SCHEMA = "skyferry"  # the schema without the option
OPTIONS = frozenset({"identity", "schema", "sslmode", "pooler"})
NAME = 63  # bytes of a name in PostgreSQL
VARIABLE = "PGPASSWORD"


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """A database, and the schema in it."""

    server: ServerAddress
    database: str
    names: tuple[str, ...]  # after the database
    schema: str
    sslmode: str
    pooler: str  # transaction = a pooler that gives each transaction another connection; "" = none


def parse_postgres(url: str, form: str, *, names: int, allow_plain: bool) -> PostgresAddress:
    """Parse `postgresql://[USER@]HOST[:PORT][,HOST…]/DATABASE/NAME…`, with `names` names. Raises ValueError.

    Without `sslmode`, the server's certificate is verified, except on loopback.
    """
    server = parse_server(url, PORT, form)
    require_names(server, 1 + names, form)
    address = PostgresAddress(
        server=server,
        database=server.path[0],
        names=server.path[1:],
        schema=server.option("schema", SCHEMA),
        sslmode=server.option("sslmode", "disable" if server.is_local else "verify-full"),
        pooler=server.option("pooler"),
    )
    for name in (address.schema, *server.path):
        if not 0 < len(name.encode()) <= NAME or "\0" in name:
            raise ValueError(f"{name!r} is no name in PostgreSQL, which has 1 to {NAME} bytes")
    if address.schema.startswith("pg_"):
        raise ValueError(
            f"option schema: {address.schema!r} begins with pg_, which PostgreSQL reserves; use another name"
        )
    if address.sslmode not in SSL_MODES:
        raise ValueError(f"option sslmode: {address.sslmode!r} is none of {', '.join(SSL_MODES)}")
    if address.pooler not in POOLERS:
        raise ValueError(f"option pooler: {address.pooler!r} is not known; use transaction, or leave it out")
    if address.sslmode == "disable":
        require_server_tls(server, "sslmode=verify-full", allowed=allow_plain)
    if address.sslmode == "require" and not (allow_plain or server.is_local):
        raise ValueError(
            "sslmode=require accepts any server; use verify-full with tls.ca_file, or set allow_http: true if you trust the network"
        )
    return address
