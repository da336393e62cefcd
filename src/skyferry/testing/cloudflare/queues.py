"""The fake's queues and its HTTP API. See the package."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

ACCOUNT = "3f4b7e3dcab231cbfdaa90a6a28bd548"
MOST = 100  # messages of a pull
HIDDEN = 12 * 3600 * 1000  # milliseconds of a visibility timeout at most


@dataclass
class FakeMessage:
    """One message."""

    id: str
    body: str  # as a pull returns it
    content_type: str
    sent_at: float  # seconds since 1970
    ready_at: float
    attempts: int = 0
    leases: set[str] = field(default_factory=set)  # all that were ever given


@dataclass
class FakeQueue:
    """One queue with its consumer."""

    name: str
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    max_retries: int = 100
    dead_letter_queue: str = ""
    pulled: bool = True  # its consumer is one that pulls
    messages: dict[str, FakeMessage] = field(default_factory=dict)

    def push(self, body: str, content_type: str, now: float, delay: float = 0.0) -> FakeMessage:
        """Add a message; `body` is the text, or the JSON of it."""
        raw = body if content_type == "text" else base64.b64encode(body.encode()).decode()
        message = FakeMessage(secrets.token_hex(16), raw, content_type, now, now + delay)
        self.messages[message.id] = message
        return message

    def pull(self, count: int, hidden: float, now: float) -> list[dict[str, object]]:
        """Lease messages that are ready, the oldest first. One that was retried too often is deleted."""
        found: list[dict[str, object]] = []
        for message in list(self.messages.values()):
            if len(found) == count or message.ready_at > now:
                continue
            if message.attempts > self.max_retries:
                del self.messages[message.id]
                continue
            lease = secrets.token_urlsafe(32)
            message.attempts, message.ready_at = message.attempts + 1, now + hidden
            message.leases.add(lease)
            found.append(
                {
                    "body": message.body,
                    "id": message.id,
                    "timestamp_ms": int(message.sent_at * 1000),
                    "attempts": message.attempts,
                    "metadata": {"CF-Content-Type": message.content_type, "CF-sourceMessageSource": "api"},
                    "lease_id": lease,
                }
            )
        return found

    def end(self, lease: str, retry_at: float | None) -> bool:
        """Delete the message of a lease, or make it ready at `retry_at`. Return False for an unknown lease."""
        for message in self.messages.values():
            if lease in message.leases:
                if retry_at is None:
                    del self.messages[message.id]
                else:
                    message.ready_at = retry_at
                return True
        return False


class CloudflareQueues:
    """The queues of one account."""

    def __init__(self, token: str, clock: Callable[[], float] = time.time, page: int = 100) -> None:
        self.token, self.queues, self.requests = token, dict[str, FakeQueue](), list[str]()
        self._clock, self._page = clock, page
        self.fail: tuple[int, int, str] | None = None  # status, code and message of every answer

    def add(self, queue: FakeQueue) -> FakeQueue:
        """Add a queue."""
        self.queues[queue.id] = queue
        return queue

    def app(self) -> web.Application:
        """Return the API."""
        app, root = web.Application(middlewares=[self._guard]), f"/accounts/{ACCOUNT}/queues"
        app.router.add_get(root, self._list)
        app.router.add_get(f"{root}/{{queue}}/consumers", self._consumers)
        app.router.add_post(f"{root}/{{queue}}/messages", self._push)
        app.router.add_post(f"{root}/{{queue}}/messages/pull", self._pull)
        app.router.add_post(f"{root}/{{queue}}/messages/ack", self._ack)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path}")
        if self.fail is not None:
            return _refuse(*self.fail)
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return _refuse(403, 10000, "Authentication error")
        if "queue" in request.match_info and request.match_info["queue"] not in self.queues:
            return _refuse(404, 11000, "Queue does not exist")
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _list(self, request: web.Request) -> web.Response:
        size = min(self._page, int(request.query.get("per_page", "20")))
        start = (int(request.query.get("page", "1")) - 1) * size
        queues = [{"queue_id": q.id, "queue_name": q.name} for q in self.queues.values()]
        return _answer(queues[start : start + size])

    async def _consumers(self, request: web.Request) -> web.Response:
        queue = self.queues[request.match_info["queue"]]
        consumer: dict[str, object] = {"type": "http_pull" if queue.pulled else "worker"}
        consumer |= {"settings": {"max_retries": queue.max_retries, "batch_size": 5}}
        return _answer([consumer | ({"dead_letter_queue": queue.dead_letter_queue} if queue.dead_letter_queue else {})])

    async def _push(self, request: web.Request) -> web.Response:
        sent = await request.json()
        queue, delay = self.queues[request.match_info["queue"]], float(sent.get("delay_seconds", 0))
        queue.push(sent["body"], sent.get("content_type", "json"), self._clock(), delay)
        return _answer({})

    async def _pull(self, request: web.Request) -> web.Response:
        wanted, queue = await request.json(), self.queues[request.match_info["queue"]]
        count, hidden = wanted.get("batch_size", 5), wanted.get("visibility_timeout_ms", 30_000)
        if not queue.pulled:
            return _refuse(400, 10100, "Queue has no pull consumer")
        if not 0 < count <= MOST or not 0 < hidden <= HIDDEN:
            return _refuse(400, 10026, "Invalid batch_size or visibility_timeout_ms")
        found = queue.pull(count, hidden / 1000, self._clock())
        return _answer({"message_backlog_count": len(queue.messages), "messages": found})

    async def _ack(self, request: web.Request) -> web.Response:
        wanted, queue, now = await request.json(), self.queues[request.match_info["queue"]], self._clock()
        acked = [queue.end(one["lease_id"], None) for one in wanted["acks"]]
        retried = [queue.end(one["lease_id"], now + one.get("delay_seconds", 0)) for one in wanted["retries"]]
        return _answer({"ackCount": sum(acked), "retryCount": sum(retried), "warnings": {}})


@asynccontextmanager
async def serve(fake: CloudflareQueues) -> AsyncIterator[str]:
    """Serve on loopback for as long as the block, in the same process. Return the URL of the API."""
    runner = web.AppRunner(fake.app(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _answer(result: object) -> web.Response:
    return web.json_response({"success": True, "errors": [], "messages": [], "result": result})


def _refuse(status: int, code: int, message: str) -> web.Response:
    errors = [{"code": code, "message": message}]
    return web.json_response({"success": False, "errors": errors, "messages": [], "result": None}, status=status)
