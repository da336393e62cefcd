"""Objects made of others without their bytes passing the client: compose, copy, rewrite."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

from skyferry.frozen import dataclass
from skyferry.testing.gcs import body
from skyferry.testing.gcs.buckets import SETTABLE, Conditions, FakeBucket, Stored, refuse_invalid
from skyferry.testing.gcs.wire import Request

MOST = 32  # objects of one composition
LEAST = 2**20  # bytes that one rewrite moves at least


async def compose_object(request: Request, bucket: FakeBucket, name: str) -> Stored:
    """The new object. All sources are checked before anything is made."""
    document = await request.document()
    given, wanted = document.get("destination", {}), document.get("sourceObjects", [])
    if not 1 <= len(wanted) <= MOST:
        raise refuse_invalid(f"The number of source components provided ({len(wanted)}) is not between 1 and {MOST}.")
    sources = []
    for each in wanted:
        source = bucket.get(each["name"], str(each.get("generation") or ""))
        demanded = (each.get("objectPreconditions") or {}).get("ifGenerationMatch")
        Conditions(generation=int(demanded) if demanded is not None else -1).check(source)
        sources.append(source)
    storage_class = sources[0].settings["storageClass"]
    given = {"storageClass": storage_class, **given}
    if any(source.settings["storageClass"] != given["storageClass"] for source in sources):
        raise refuse_invalid("The storage class of the composed object and of its components must be the same.")
    return bucket.put(
        name,
        body.join_bodies([source.body for source in sources]),
        given,
        Conditions.of(request.query),
        request.query.get("kmsKeyName", ""),
        sum(source.components or 1 for source in sources),
    )


@dataclass(slots=True)
class _Progress:
    """Of a rewrite that takes several requests."""

    source: Stored
    done: int = 0  # bytes


class Copies:
    """Copies of whole objects, within a bucket or between two."""

    def __init__(self) -> None:
        self._rewrites: dict[str, _Progress] = {}

    async def copy(self, request: Request, source: Stored, target: FakeBucket, name: str) -> Stored:
        """In one request. A resource in the body replaces the source's."""
        given = await request.document()
        return self._make(request, source, target, name, given)

    async def rewrite(self, request: Request, source: Stored, target: FakeBucket, name: str) -> dict[str, Any]:
        """The answer. A change of storage class moves bytes, and so may take several requests."""
        given = await request.document()
        token = request.query.get("rewriteToken", "")
        if token and (token not in self._rewrites or self._rewrites[token].source.body is not source.body):
            raise refuse_invalid("Invalid rewrite token.")
        progress = self._rewrites.pop(token) if token else _Progress(source)
        default = target.storage_class if given else source.settings["storageClass"]
        wanted = given.get("storageClass", default)
        step = max(int(request.query.get("maxBytesRewrittenPerCall", LEAST)), LEAST)
        moves = wanted != source.settings["storageClass"]
        progress.done = min(progress.done + step, source.body.size) if moves else source.body.size
        answer: dict[str, Any] = {
            "kind": "storage#rewriteResponse",
            "totalBytesRewritten": str(progress.done),
            "objectSize": str(source.body.size),
            "done": progress.done == source.body.size,
        }
        if not answer["done"]:
            token = secrets.token_hex(8)
            self._rewrites[token] = progress
            return {**answer, "rewriteToken": token}
        if moves and source.components:  # what is moved to another class is one piece ("Objects: rewrite")
            source = replace(source, components=1)
        made = self._make(request, source, target, name, given)
        return {**answer, "resource": made.resource(target.name, request.root)}

    def _make(self, request: Request, source: Stored, target: FakeBucket, name: str, given: dict[str, Any]) -> Stored:
        kms_key = request.query.get("destinationKmsKeyName", "")
        settings = given if any(field in given for field in SETTABLE) else source.settings
        return target.put(name, source.body, settings, Conditions.of(request.query), kms_key, source.components)
