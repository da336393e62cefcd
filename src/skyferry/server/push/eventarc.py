"""CloudEvents of Eventarc. The binary mode has the attributes of an event in headers, which a queue would lose.

https://github.com/cloudevents/spec, "HTTP Protocol Binding", "Binary Content Mode"
"""

from __future__ import annotations

from dataclasses import replace

import orjson

from skyferry.server.push.authenticator import Authentication, Authenticator, PushRequest

ATTRIBUTES = ("specversion", "id", "source", "type", "time", "subject", "datacontenttype")
PREFIX = "ce-"


class EventarcAuthenticator:
    """Stores a CloudEvent as one JSON object once `inner` has authenticated the request."""

    def __init__(self, inner: Authenticator) -> None:
        self._inner = inner

    async def authenticate(self, request: PushRequest) -> Authentication:
        """See `Authenticator`."""
        proven = await self._inner.authenticate(request)
        headers = {name: request.headers[PREFIX + name] for name in ATTRIBUTES if PREFIX + name in request.headers}
        if "type" not in headers:  # the structured mode
            return proven
        try:
            data = orjson.loads(await request.body())
        except ValueError:  # the worker reports it
            return proven
        return replace(proven, body=orjson.dumps({**headers, "data": data}), id=headers.get("id", ""))
