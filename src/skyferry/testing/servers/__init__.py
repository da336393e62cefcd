"""Real servers and emulators for tests, each on a free loopback port. They end with the process that started them.

    with localstack() as server: ...      S3 and SQS; checks checksums, but no signatures
    with radosgw() as server: ...         S3; checks signatures, but no checksums
    with azurite() as server: ...         Azure Blob and Queue
    with gcs_fake() as server: ...        Cloud Storage: a fake, always installed (`skyferry.testing.gcs`)
    with redis() as server: ...           Redis or Valkey; `nats()` and `postgres()` in `engines` likewise

`python -m skyferry.testing.servers install NAME` installs one. A server that is not installed raises `ServerMissing`, which
names the command.
"""

from skyferry.testing.servers.azurite import Azurite, azurite
from skyferry.testing.servers.engines.nats import NatsServer, nats
from skyferry.testing.servers.engines.postgres import PostgresServer, postgres
from skyferry.testing.servers.engines.redis import RedisServer, redis
from skyferry.testing.servers.gcs_fake import GcsFake, gcs_fake
from skyferry.testing.servers.localstack import LocalStack, localstack
from skyferry.testing.servers.process import ServerMissing
from skyferry.testing.servers.radosgw import RadosGateway, radosgw

__all__ = [
    "Azurite",
    "GcsFake",
    "LocalStack",
    "NatsServer",
    "PostgresServer",
    "RadosGateway",
    "RedisServer",
    "ServerMissing",
    "azurite",
    "gcs_fake",
    "localstack",
    "nats",
    "postgres",
    "radosgw",
    "redis",
]
