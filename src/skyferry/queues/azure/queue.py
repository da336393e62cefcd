"""Azure Storage Queue.

A URL carries `azq://ACCOUNT/QUEUE`, with `endpoint` (of the account's Queue service) for anything but Azure's public cloud,
`lease` in seconds. `location` is the queue's name.

Bodies are received as they are stored: Event Grid writes base64, which the parser decodes. The service has neither attributes nor
long polling: messages with attributes are wrapped, and an empty queue is polled every `poll` seconds, then less often, up to
`slowest`. It has no dead-letter queue: `attempt` is the number of receives. Messages that are not acknowledged expire after
the time to live that the sender set, seven days by default; messages that Skyferry sends never expire.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from email.utils import formatdate, parsedate_to_datetime
from functools import partial
from urllib.parse import quote, urlencode, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from skyferry.clock import SystemClock
from skyferry.clouds.azure import AzureProvider, SharedKey, authorization
from skyferry.clouds.credentials import call_authorized
from skyferry.clouds.errors import find_expiry
from skyferry.clouds.http import Http, HttpResponse, Limits
from skyferry.errors import ConfigError, QueueError, StoreError
from skyferry.frozen import dataclass
from skyferry.ports import Clock, Depth, Message, Outgoing
from skyferry.ports.inspection import QueueFacts, Unknown
from skyferry.queues.azure.inspection import inspect
from skyferry.queues.azure.scheme import TRAITS
from skyferry.queues.concurrency import receive_rest, run_all
from skyferry.queues.polling import Polling
from skyferry.queues.text_envelope import unwrap, wrap

BATCH = 32  # messages in one answer
FOR_EVER = "-1"  # time to live of sent messages; the default is seven days
STALE = ("MessageNotFound", "PopReceiptMismatch", "InvalidQueryParameterValue")
HINTS = {
    "QueueNotFound": "create it, or correct its name or the endpoint",
    "AuthenticationFailed": "check that the key or token is for this account, and the clock of this machine",
    "AuthorizationPermissionMismatch": "assign the role that `skyferry policy` prints",
    "AuthorizationFailure": "check the firewall of the account, and that it accepts this kind of credentials",
    "ServerBusy": "the service throttles requests; they are retried",
}


@dataclass(frozen=True, slots=True)
class AzureQueueOptions:
    """Options of one queue."""

    endpoint: str  # of the account's Queue service: https://ACCOUNT.queue.core.windows.net
    lease: float = 60.0  # seconds a message is hidden, renewed while it is leased
    poll: float = 1.0  # seconds between polls of an empty queue
    slowest: float = 10.0  # the longest interval, in seconds
    api_version: str = "2021-12-02"
    connections: int = 32  # at the same time
    connect_timeout: float = 10.0  # seconds
    read_timeout: float = 30.0  # seconds without a byte


class AzureQueue:
    """An `EventQueue` on one Storage Queue."""

    def __init__(
        self,
        name: str,
        location: str,
        credential: AzureProvider,
        options: AzureQueueOptions,
        clock: Clock | None = None,
    ) -> None:
        endpoint = urlsplit(options.endpoint)
        if endpoint.scheme not in ("http", "https") or not endpoint.netloc:
            hint = "set it, such as https://ACCOUNT.queue.core.windows.net"
            raise ConfigError("the endpoint of the account is missing", where=name, hint=hint)
        self.name, self.lease, self.traits = name, options.lease, TRAITS
        self._credential, self._options = credential, options
        self._root = f"{options.endpoint.rstrip('/')}/{quote(location)}"
        limits = Limits(options.connections, options.connect_timeout, options.read_timeout)
        self._http = Http(name, self._root, limits)
        self._clock = clock or SystemClock()
        # By id and first pop receipt: the newest receipt and the end of its lease. Messages of one answer may share a receipt.
        self._held: dict[tuple[str, str], tuple[str, float]] = {}
        self._polling = Polling(self._clock, options.poll, options.slowest)
        self._closed = False

    async def receive(self, limit: int, wait: float) -> list[Message]:
        """See `EventQueue`. Looks at once where it does not wait, and after a send or release of this process."""
        self._check()
        return await self._polling.receive(partial(self._take, limit), wait)

    async def extend(self, messages: Sequence[Message], seconds: float = 0.0) -> list[Message]:
        """See `EventQueue`."""
        self._check()
        kept = await run_all([partial(self._hide, m, max(self.lease, seconds)) for m in messages])
        return [m for m, is_ours in zip(messages, kept, strict=True) if not is_ours]

    async def ack(self, messages: Sequence[Message]) -> None:
        """See `EventQueue`."""
        self._check()
        await run_all([partial(self._remove, m) for m in messages])

    async def release(self, messages: Sequence[Message], delay: float) -> None:
        """See `EventQueue`; at most seven days."""
        self._check()
        await run_all([partial(self._hide, m, delay) for m in messages])
        for message in messages:
            self._held.pop(_lease(message), None)
        self._polling.notify()

    async def send(self, messages: Sequence[Outgoing]) -> list[str]:
        """See `EventQueue`. A message and its wrapping have room for 64 KiB."""
        self._check()
        ids = await run_all([partial(self._send, m) for m in messages])
        self._polling.notify()
        return ids

    async def depth(self) -> Depth:
        """See `EventQueue`. The service reports one number for all messages, returned as `ready`."""
        self._check()
        answer = await self._ask("GET", "", {"comp": "metadata"})
        return Depth(int(answer.headers.get("x-ms-approximate-messages-count", -1)), -1, -1, -1.0)

    async def inspect(self) -> QueueFacts:
        """See `InspectableQueue`."""
        await self.depth()
        return await inspect(self._root, self._credential)

    async def sends(self) -> bool | Unknown:
        """See `InspectableQueue`."""
        return Unknown("Azure does not report permissions")

    async def close(self) -> None:
        """See `EventQueue`. Leases run out by themselves."""
        self._closed = True
        self._polling.close()
        await self._http.close()

    def _check(self) -> None:
        if self._closed:
            raise QueueError("it is closed", where=self.name)

    async def _take(self, limit: int) -> list[Message]:
        return await receive_rest(await self._get(min(limit, BATCH)), self._get, limit, BATCH)

    async def _get(self, limit: int) -> list[Message]:
        now = self._clock.time()
        seconds = str(math.ceil(self.lease))
        answer = await self._ask("GET", "/messages", {"numofmessages": str(limit), "visibilitytimeout": seconds})
        found = [_message(entry, now + self.lease) for entry in self._xml(answer).iter("QueueMessage")]
        for lease in [one for one, (_, until) in self._held.items() if until <= now]:
            del self._held[lease]
        self._held.update((_lease(m), (m.receipt, m.lease_until)) for m in found)
        return found

    async def _hide(self, message: Message, seconds: float) -> bool:
        """Hide a message. Return False if its lease was lost."""
        now = self._clock.time()
        receipt, until = self._held.get(_lease(message), ("", 0.0))
        if until <= now:
            return False
        hidden = str(math.ceil(min(self.traits.max_lease, seconds)))
        path = f"/messages/{quote(message.id, safe='')}"
        answer = await self._ask("PUT", path, {"popreceipt": receipt, "visibilitytimeout": hidden}, accept=STALE)
        if answer.status >= 300:
            self._held.pop(_lease(message), None)
            return False
        self._held[_lease(message)] = answer.headers["x-ms-popreceipt"], now + seconds
        return True

    async def _remove(self, message: Message) -> None:
        receipt, until = self._held.pop(_lease(message), ("", 0.0))
        if until > self._clock.time():
            path = f"/messages/{quote(message.id, safe='')}"
            await self._ask("DELETE", path, {"popreceipt": receipt}, accept=STALE)

    async def _send(self, message: Outgoing) -> str:
        body = (
            f"<QueueMessage><MessageText>{escape(wrap(message.body, message.attributes))}</MessageText></QueueMessage>"
        )
        delay = math.ceil(min(self.traits.max_send_delay, message.delay))
        query = {"messagettl": FOR_EVER, "visibilitytimeout": str(delay)}
        answer = await self._ask("POST", "/messages", query, body.encode())
        return self._xml(answer).findtext("QueueMessage/MessageId", "")

    def _xml(self, answer: HttpResponse) -> ElementTree.Element:
        try:
            return answer.xml()
        except StoreError as error:
            raise QueueError(error.message, where=self.name) from error

    async def _ask(
        self, method: str, path: str, query: Mapping[str, str], body: bytes = b"", accept: Sequence[str] = ()
    ) -> HttpResponse:
        try:
            once = partial(self._once, method, path, query, body)
            answer = await call_authorized(self._credential, once, find_expiry)
        except StoreError as error:
            where = error.where or self.name
            raise QueueError(error.message, where=where, hint=error.hint, retry_after=error.retry_after) from error
        code = answer.headers.get("x-ms-error-code", "")
        if answer.status < 300 or code in accept:
            return answer
        raise QueueError(f"{code or 'refused'}: HTTP {answer.status}", where=self.name, hint=HINTS.get(code, ""))

    async def _once(
        self, method: str, path: str, query: Mapping[str, str], body: bytes, credential: str | SharedKey
    ) -> HttpResponse:
        url = self._root + path
        headers = {
            "x-ms-date": formatdate(usegmt=True),
            "x-ms-version": self._options.api_version,
            "content-length": str(len(body)),
        }
        headers |= authorization(credential, method, url, headers, query)
        return await self._http.exchange(method, f"{url}?{urlencode(query, quote_via=quote)}", headers, body)


def _lease(message: Message) -> tuple[str, str]:
    return message.id, message.receipt


def _message(entry: ElementTree.Element, until: float) -> Message:
    body, attributes = unwrap(entry.findtext("MessageText") or "")
    return Message(
        id=entry.findtext("MessageId", ""),
        body=body,
        receipt=entry.findtext("PopReceipt", ""),
        attempt=int(entry.findtext("DequeueCount", "1")),
        enqueued_at=parsedate_to_datetime(entry.findtext("InsertionTime", "")).timestamp(),
        lease_until=until,
        attributes=attributes,
    )
