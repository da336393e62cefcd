"""Requests to one queue through Cloudflare's HTTP API.

Sources: https://developers.cloudflare.com/queues/configuration/pull-consumers/ and
https://developers.cloudflare.com/api/resources/queues/
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any
from urllib.parse import quote

import orjson

from skyferry.clouds.credentials import Expiry, TokenProvider, call_authorized
from skyferry.clouds.http import Http, HttpResponse, Limits, retry_after
from skyferry.errors import QueueError, StoreError

ID = re.compile(r"[0-9a-f]{32}")
PAGE = 100  # queues in one answer
ACCESS = "check that the API token is valid and may read and edit queues of this account"
HINTS = {
    400: "check that the queue has a pull consumer: wrangler queues consumer http add QUEUE",
    401: ACCESS,
    403: ACCESS,
    404: "create it, or correct the account or the name",
    429: "the service throttles requests; they are retried",
}


class QueuesApi:
    """The API for one queue, which is named by its id or its name."""

    def __init__(self, name: str, queue: str, account: str, endpoint: str, token: TokenProvider) -> None:
        self._name, self._queue, self._token = name, queue, token
        self.root = f"{endpoint.rstrip('/')}/accounts/{quote(account, safe='')}/queues"
        self._id = queue if ID.fullmatch(queue) else ""
        self._http = Http(name, self.root, Limits())

    async def call(self, method: str, path: str, body: object = None) -> Any:
        """Return the result of a request below the queue's own URL. Raises QueueError."""
        self._id = self._id or await self._find_id()
        return (await self._request(method, f"/{self._id}{path}", body)).get("result")

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        await self._http.close()

    async def _find_id(self) -> str:
        page = 1
        while found := (await self._request("GET", f"?page={page}&per_page={PAGE}")).get("result"):
            if queue_id := next((q["queue_id"] for q in found if q.get("queue_name") == self._queue), ""):
                return str(queue_id)
            if len(found) < PAGE:
                break
            page += 1
        raise QueueError(f"there is no queue {self._queue!r} in the account", where=self._name, hint=HINTS[404])

    async def _request(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        data = b"" if body is None else orjson.dumps(body)
        try:
            answer = await call_authorized(
                self._token, partial(self._once, method, self.root + path, data), _find_expiry
            )
            found = answer.json() if answer.body else {}
        except StoreError as error:
            where = error.where or self._name
            raise QueueError(error.message, where=where, hint=error.hint, retry_after=error.retry_after) from error
        if answer.status < 300 and isinstance(found, dict) and found.get("success", True):
            return found
        wait = retry_after(answer.headers.get("retry-after", ""))
        hint = HINTS.get(answer.status, "")
        raise QueueError(f"{_describe(found)}: HTTP {answer.status}", where=self._name, hint=hint, retry_after=wait)

    async def _once(self, method: str, url: str, body: bytes, token: str) -> HttpResponse:
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        return await self._http.exchange(method, url, headers, body)


def _find_expiry(answer: HttpResponse) -> Expiry:
    return Expiry.SUSPECTED if answer.status in (401, 403) else Expiry.NONE


def _describe(found: object) -> str:
    """Return the first error of an answer, with its code."""
    errors = found.get("errors") if isinstance(found, dict) else None
    first = errors[0] if isinstance(errors, list) and errors else None
    return f"{first.get('message')} ({first.get('code')})" if isinstance(first, dict) else "refused"
