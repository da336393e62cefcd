"""Cloud Storage ("IAM permissions for JSON methods") and Pub/Sub ("Access control with IAM", required permissions)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

import orjson

from skyferry.testing.permissions import Ask, Asked, UnknownRequest
from skyferry.testing.servers.proxy import Exchange

GET, LIST, CREATE, DELETE = (f"storage.objects.{what}" for what in ("get", "list", "create", "delete"))
RPC = {  # of google.pubsub.v1
    "Subscriber/StreamingPull": "pubsub.subscriptions.consume",
    "Subscriber/Acknowledge": "pubsub.subscriptions.consume",
    "Subscriber/ModifyAckDeadline": "pubsub.subscriptions.consume",
    "Publisher/Publish": "pubsub.topics.publish",
}


def list_asks(exchange: Exchange) -> Iterator[Ask]:
    """Yield the permissions of a request to the JSON API. Raises UnknownRequest."""
    asked = Asked.of(exchange)
    if payer := asked.query.get("userProject"):
        yield Ask("serviceusage.services.use", f"projects/{payer}")
    match asked.method, asked.segments:
        case "POST", ("upload", "storage", "v1", "b", bucket, "o"):
            yield from _written(asked, f"projects/_/buckets/{bucket}/objects/{_name(exchange)}")
        case "PUT" | "DELETE", ("upload", "storage", "v1", "b", _, "o"):
            return  # a session's URL is all that it takes ("Resumable uploads", session URIs)
        case "GET", ("storage", "v1", "b", bucket, "o"):
            yield Ask(LIST, f"projects/_/buckets/{bucket}")
        case "GET", ("storage", "v1", "b", bucket, "o", key):
            yield Ask(GET, f"projects/_/buckets/{bucket}/objects/{key}")
        case "PATCH", ("storage", "v1", "b", bucket, "o", key):
            yield Ask("storage.objects.update", f"projects/_/buckets/{bucket}/objects/{key}")
        case "DELETE", ("storage", "v1", "b", bucket, "o", key):
            yield Ask(DELETE, f"projects/_/buckets/{bucket}/objects/{key}")
        case "POST", ("storage", "v1", "b", bucket, "o", key, "compose"):
            yield from _written(asked, f"projects/_/buckets/{bucket}/objects/{key}")
            for part in orjson.loads(exchange.start)["sourceObjects"]:
                yield Ask(GET, f"projects/_/buckets/{bucket}/objects/{part['name']}")
        case "POST", ("storage", "v1", "b", source, "o", key, "rewriteTo", "b", bucket, "o", target):
            yield Ask(GET, f"projects/_/buckets/{source}/objects/{key}")
            yield from _written(asked, f"projects/_/buckets/{bucket}/objects/{target}")
        case _:
            raise asked.unknown()


def find_rpc_ask(method: str, resource: str) -> Ask:
    """Return the permission of a call of Pub/Sub, such as /google.pubsub.v1.Subscriber/Acknowledge. Raises UnknownRequest."""
    name = method.removeprefix("/google.pubsub.v1.")
    if name not in RPC:
        raise UnknownRequest(method)
    return Ask(RPC[name], resource)


def list_token_asks(exchange: Exchange) -> Iterator[Ask]:
    """Yield the permissions of a request to the IAM Service Account Credentials API; none for other requests."""
    named = re.search(r"serviceAccounts/([^/:]+):(\w+)$", unquote(exchange.target))
    if named:
        what = {"generateAccessToken": "getAccessToken", "generateIdToken": "getOpenIdToken"}[named[2]]
        yield Ask(f"iam.serviceAccounts.{what}", f"serviceAccounts/{named[1]}")


def _written(asked: Asked, here: str) -> Iterator[Ask]:
    """Yield the permissions of a write. Overwriting needs the permission to delete too."""
    yield Ask(CREATE, here)
    if asked.query.get("ifGenerationMatch", "0") != "0":
        yield Ask(DELETE, here)


def _name(exchange: Exchange) -> str:
    """Return the object's name from the first part of a multipart body, or from the body that starts a session."""
    found = re.search(r"(?:\A|\r\n\r\n)(\{.*?\})(?:\r\n--|\Z)", exchange.start, re.DOTALL)
    return str(orjson.loads(found[1].encode("latin-1"))["name"]) if found else ""
