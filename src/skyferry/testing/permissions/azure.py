"""Blob and Queue Storage: "Permissions for calling data operations" (Azure Storage REST API)."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from skyferry.testing.permissions import Ask, Asked
from skyferry.testing.servers.proxy import Exchange

STORAGE = "Microsoft.Storage/storageAccounts"
# Method and `comp` -> what of blobs.
BLOB = {
    ("GET", ""): "read",
    ("HEAD", ""): "read",
    ("GET", "blocklist"): "read",
    ("GET", "tags"): "tags/read",
    ("PUT", ""): "write",
    ("PUT", "block"): "write",
    ("PUT", "blocklist"): "write",
    ("PUT", "properties"): "write",
    ("PUT", "metadata"): "write",
    ("PUT", "tags"): "tags/write",
    ("DELETE", ""): "delete",
}
CONTAINER = {("GET", "list"): "read"}
# Method, and whether it names a message -> what of messages.
MESSAGES = {
    ("GET", False): "process/action",
    ("POST", False): "add/action",
    ("PUT", True): "write",
    ("DELETE", True): "process/action",
}


def list_blob_asks(exchange: Exchange) -> Iterator[Ask]:
    """Yield the permissions of a Blob request. The account is the first segment, as with Azurite. Raises UnknownRequest."""
    asked = Asked.of(exchange)
    account, container, *key = asked.segments
    table = BLOB if key else CONTAINER
    if (what := table.get((asked.method, asked.query.get("comp", "")))) is None:
        raise asked.unknown()
    yield _blobs(what, account, container)
    if exchange.headers.get("x-ms-tags"):
        yield _blobs("tags/write", account, container)
    if source := exchange.headers.get("x-ms-copy-source"):
        yield _blobs("read", account, urlsplit(source).path.split("/")[2])


def list_queue_asks(exchange: Exchange) -> Iterator[Ask]:
    """Yield the permissions of a Queue request. Raises UnknownRequest."""
    asked = Asked.of(exchange)
    account, queue, *rest = asked.segments
    scope = f"{account}/queueServices/default/queues/{queue}"
    kind = f"{STORAGE}/queueServices/queues"
    if asked.method == "GET" and not rest and asked.query.get("comp") == "metadata":
        yield Ask(f"{kind}/read", scope)
    elif rest[:1] == ["messages"] and (what := MESSAGES.get((asked.method, len(rest) > 1))):
        yield Ask(f"{kind}/messages/{what}", scope)
    else:
        raise asked.unknown()


def _blobs(what: str, account: str, container: str) -> Ask:
    scope = f"{account}/blobServices/default/containers/{container}"
    return Ask(f"{STORAGE}/blobServices/containers/blobs/{what}", scope)
