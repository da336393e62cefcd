"""Buckets and stores on a Cloud Storage of tests, and its planned faults."""

from __future__ import annotations

import secrets
from dataclasses import asdict, replace
from typing import Any

import orjson

from skyferry.clouds.credentials import TokenProvider
from skyferry.frozen import dataclass
from skyferry.stores.gcs.client import GcsClient, GcsOptions
from skyferry.stores.gcs.store import GcsStore
from skyferry.testing.servers.proxy import Exchange, Fault


@dataclass(frozen=True, slots=True)
class GcsPlace:
    """The endpoint and identity with which Cloud Storage tests may create buckets."""

    options: GcsOptions
    tokens: TokenProvider

    async def bucket(self, *, versioned: bool = False, storage_class: str = "STANDARD", **more: Any) -> str:
        """A new one, with these settings too."""
        name = f"bucket-{secrets.token_hex(6)}"
        settings = {"name": name, "storageClass": storage_class, "versioning": {"enabled": versioned}, **more}
        await self._ask("POST", "/storage/v1/b", settings, {"project": "tests"})
        return name

    def store(self, bucket: str, endpoint: str = "") -> GcsStore:
        """On that bucket, maybe by way of a proxy. The caller closes it."""
        options = replace(self.options, endpoint=endpoint) if endpoint else self.options
        return GcsStore("gcs", bucket, self.tokens, options)

    async def plan(self, *faults: Fault) -> None:
        """Plan faults. Each affects the first request of any client that matches it, in this order. Only the fake can do this."""
        await self._ask("POST", "/_fake/faults", [{**asdict(f), "body": f.body.decode()} for f in faults])

    async def pending(self) -> int:
        """Faults that have not happened yet."""
        return int((await self._ask("GET", "/_fake/faults"))["pending"])

    async def exchanges(self) -> list[Exchange]:
        """Return the requests so far, of all clients, each with the number of received body bytes."""
        return [Exchange(**each) for each in await self._ask("GET", "/_fake/exchanges")]

    async def forget(self) -> None:
        """Forget the requests so far."""
        await self._ask("DELETE", "/_fake/exchanges")

    async def demand(self, token: str) -> None:
        """From now on requests must bear this token."""
        client = GcsClient("admin", "none", self.tokens, self.options)
        await client.send("PUT", "/_fake/token", body=token.encode())
        await client.close()

    async def _ask(self, method: str, path: str, document: Any = None, query: dict[str, str] | None = None) -> Any:
        client = GcsClient("admin", "none", self.tokens, self.options)
        headers = {"content-type": "application/json"}
        body = b"" if document is None else orjson.dumps(document)
        answer = await client.send(method, path, query=query, headers=headers, body=body)
        await client.close()
        return answer.json() if answer.body else None
