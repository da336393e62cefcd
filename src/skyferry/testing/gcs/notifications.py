"""The notification configurations of a bucket. They are stored; no notification is sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skyferry.testing.gcs.buckets import FakeBucket, FakeRefusal, refuse_invalid
from skyferry.testing.gcs.wire import Reply, Request, json_reply

SERVICE = "//pubsub.googleapis.com/"
FORMATS = ("JSON_API_V1", "NONE")


async def answer_notifications(request: Request, bucket: FakeBucket, which: Sequence[str]) -> Reply:
    """List and insert; get and delete one by its id."""
    kept, fields = bucket.notifications, request.query.get("fields", "")
    match request.method, which:
        case "GET", []:
            items = {"items": list(kept.values())} if kept else {}
            return json_reply({"kind": "storage#notifications", **items}, fields)
        case "POST", []:
            made = _made(str(next(bucket.ids)), await request.document())
            kept[made["id"]] = made
            return json_reply(made, fields)
        case "GET", [known] if known in kept:
            return json_reply(kept[known], fields)
        case "DELETE", [known] if known in kept:
            del kept[known]
            return Reply(204)
    raise FakeRefusal(404, "notFound", "Not Found")


def _made(id_: str, given: dict[str, Any]) -> dict[str, Any]:
    topic = str(given.get("topic", "")).removeprefix(SERVICE)  # gcloud leaves it out, and so may others
    if not topic.startswith("projects/"):
        raise refuse_invalid("Invalid Pub/Sub topic name.")
    if given.get("payload_format") not in FORMATS:
        raise FakeRefusal(400, "required", "Required: payload_format, JSON_API_V1 or NONE")
    return {"kind": "storage#notification", **given, "topic": f"{SERVICE}{topic}", "id": id_}
