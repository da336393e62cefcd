"""`python -m skyferry.testing.servers install NAME...` brings servers; `... run NAME` starts one until interrupted."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress

from skyferry.testing.servers.azurite import azurite
from skyferry.testing.servers.azurite import install as install_azurite
from skyferry.testing.servers.engines.nats import install as install_nats
from skyferry.testing.servers.engines.nats import nats
from skyferry.testing.servers.engines.postgres import install as install_postgres
from skyferry.testing.servers.engines.postgres import postgres
from skyferry.testing.servers.engines.redis import install as install_redis
from skyferry.testing.servers.engines.redis import redis
from skyferry.testing.servers.gcs_fake import gcs_fake
from skyferry.testing.servers.localstack import install as install_localstack
from skyferry.testing.servers.localstack import localstack
from skyferry.testing.servers.process import ServerMissing
from skyferry.testing.servers.prometheus import install as install_prometheus
from skyferry.testing.servers.pubsub import install as find_pubsub
from skyferry.testing.servers.pubsub import pubsub
from skyferry.testing.servers.radosgw import install as install_radosgw
from skyferry.testing.servers.radosgw import radosgw

INSTALL = {
    "localstack": install_localstack,
    "azurite": install_azurite,
    "radosgw": install_radosgw,
    "pubsub": find_pubsub,
    "prometheus": install_prometheus,
    "redis": install_redis,
    "nats": install_nats,
    "postgres": install_postgres,
}
RUN: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "localstack": localstack,
    "azurite": azurite,
    "gcs": gcs_fake,
    "radosgw": radosgw,
    "pubsub": pubsub,
    "redis": redis,
    "nats": nats,
    "postgres": postgres,
}


def main(arguments: list[str]) -> int:
    """Run the command. The exit code is 2 for an unknown command, 1 for a server that cannot be installed."""
    try:
        return _main(arguments)
    except ServerMissing as missing:
        print(missing, file=sys.stderr)
        return 1


def _main(arguments: list[str]) -> int:
    match arguments:
        case ["install", *names] if names and set(names) <= set(INSTALL):
            for name in names:
                INSTALL[name]()
        case ["run", name] if name in RUN:
            with RUN[name]() as server, suppress(KeyboardInterrupt):
                print(server, flush=True)
                signal.pause()
        case _:
            print(f"{__doc__}\nNAME is one of: {' '.join(dict.fromkeys([*INSTALL, *RUN]))}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
