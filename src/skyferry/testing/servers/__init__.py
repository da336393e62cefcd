"""Real servers and emulators for tests, each on a free loopback port, ending with the process that started it.

    with localstack() as server: ...      S3 and SQS; the one that checks checksums, never signatures
    with radosgw() as server: ...         S3; the one that checks signatures, and knows no checksums
    with azurite() as server: ...         Azure Blob and Queue
    with gcs_fake() as server: ...        Cloud Storage: our own, which is always there (`skyferry.testing.gcs`)

`python -m skyferry.testing.servers install NAME` brings one; one that is not there raises `ServerMissing`, which says so.
"""

from skyferry.testing.servers.azurite import Azurite, azurite
from skyferry.testing.servers.gcs_fake import GcsFake, gcs_fake
from skyferry.testing.servers.localstack import LocalStack, localstack
from skyferry.testing.servers.process import ServerMissing
from skyferry.testing.servers.radosgw import RadosGateway, radosgw

__all__ = [
    "Azurite",
    "GcsFake",
    "LocalStack",
    "RadosGateway",
    "ServerMissing",
    "azurite",
    "gcs_fake",
    "localstack",
    "radosgw",
]
