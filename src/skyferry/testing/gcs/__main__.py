"""`python -m skyferry.testing.gcs --port PORT [--token TOKEN]` serves on loopback until interrupted."""

from __future__ import annotations

import argparse
import asyncio

from aiohttp import web

from skyferry.testing.gcs.api import Gcs

HOST = "127.0.0.1"


async def serve_fake(port: int, token: str) -> None:
    """Serve until cancelled."""
    server = web.Server(Gcs(token).handle, handler_cancellation=True)  # a stalled request ends with its client
    runner = web.ServerRunner(server, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, HOST, port, backlog=1024).start()
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m skyferry.testing.gcs", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--token", default="", help="the bearer token that requests must have")
    arguments = parser.parse_args()
    asyncio.run(serve_fake(arguments.port, arguments.token))


if __name__ == "__main__":
    main()
