"""The servers that the workers of a drill share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml
from tests.fleet.network import Network

from skyferry.config.load import load
from skyferry.config.settings import Settings
from skyferry.stores.s3.client import S3Options
from skyferry.testing.servers import PostgresServer, localstack, postgres, radosgw, redis
from skyferry.testing.servers.engines.daemon import Daemon
from skyferry.testing.servers.s3 import S3Place

Engine = Literal["postgresql", "redis"]
LEASE = 8.0  # seconds
TRANSFERS = 32  # of a worker at the same time: LocalStack takes some hundred requests a second
TRUST = "host all all {} scram-sha-256\n"  # a line of pg_hba.conf: the hosts of the drill give the password


@dataclass(slots=True)
class Servers:
    """The servers that the workers share."""

    ledger: Daemon
    settings: Settings
    config: Path
    env: dict[str, str]
    source: S3Place
    destination: S3Place
    buckets: tuple[str, str]  # source, destination
    journal: Path | None  # the file that has what a Redis has written


@asynccontextmanager
async def servers(net: Network, folder: Path, engine: Engine) -> AsyncIterator[Servers]:
    """One database, two S3, and a configuration of the workers that names them.

    The destination is LocalStack: it keeps versions and honours preconditions on writes, so its list of versions has each write.
    """
    async with AsyncExitStack() as stack:
        database = stack.enter_context(_database(net))
        gateway = stack.enter_context(radosgw(net.source))
        source = S3Place(S3Options(service="ceph", endpoint=gateway.url), gateway.access_key, gateway.secret_key)
        stack_url = stack.enter_context(localstack(("s3",), net.destination)).url
        destination = S3Place(
            S3Options(service="localstack", endpoint=stack_url), gateway.access_key, gateway.secret_key
        )
        buckets = await source.bucket(), await destination.bucket(versioned=True)
        where = f"postgresql://{database.user}@{{}}:{database.port}/postgres"
        ledger, daemon = f"{where.format(net.ledger)}?sslmode=disable", database.daemon
        journal = None
        if engine == "redis":
            listen = ("--bind", "127.0.0.1", net.ledger, "--protected-mode", "no", "--auto-aof-rewrite-percentage", "0")
            server = stack.enter_context(redis(*listen))
            ledger, daemon = f"redis://{net.ledger}:{server.port}/ledger", server.daemon
            journal = max(daemon.log.parent.rglob("appendonly.aof*"), key=lambda file: file.name.endswith("aof"))
        stores = {
            name: _describe_store(place, bucket, address)
            for name, place, bucket, address in zip(
                ("source", "destination"), (source, destination), buckets, (net.source, net.destination), strict=True
            )
        }
        queue = f"{where.format(net.queue)}/events?sslmode=disable"
        config = _configure(folder, stores, queue, ledger)
        path = folder / "skyferry.yaml"
        path.write_text(yaml.safe_dump(config))
        keys = {"AWS_ACCESS_KEY_ID": gateway.access_key, "AWS_SECRET_ACCESS_KEY": gateway.secret_key}
        env = {"PGPASSWORD": database.password, **keys}
        yield Servers(daemon, load(path, environ=env), path, env, source, destination, buckets, journal)


def _describe_store(place: S3Place, bucket: str, address: str) -> dict[str, object]:
    return {
        "url": f"s3://{bucket}",
        "endpoint": f"http://{address}:{place.options.endpoint.rpartition(':')[2]}",
        "service": place.options.service,
        "identity": {"kind": "static"},
        "allow_http": True,
    }


def _configure(folder: Path, stores: dict[str, dict[str, object]], queue: str, ledger: str) -> dict[str, object]:
    return {
        "workspace": str(folder),
        "stores": stores,
        "routes": [{"name": "all", "from": "source", "to": "destination", "deletes": "propagate"}],
        "queues": [{"name": "events", "url": queue, "lease": f"{LEASE}s", "allow_http": True}],
        "ledger": {"url": ledger, "lease": f"{LEASE}s", "allow_http": True},
        "retry": {"initial_delay": "50ms", "max_delay": "1s", "request_initial_delay": "20ms", "max_retries": 5},
        "breaker": {"cooldown": "200ms", "max_cooldown": "2s"},
        "limits": {"transfers": TRANSFERS},
        "server": {"listen": "127.0.0.1:0"},
        "log": {"format": "json", "level": "info"},
    }


@contextmanager
def _database(net: Network) -> Iterator[PostgresServer]:
    with postgres(f"listen_addresses=127.0.0.1,{net.ledger},{net.queue}") as server:
        rules = Path(server.run("SHOW hba_file"))
        with rules.open("a") as file:
            file.write(TRUST.format(net.subnet))
        server.run("SELECT pg_reload_conf()")
        yield server
