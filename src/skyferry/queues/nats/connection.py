"""One connection to NATS, its stream and its pull consumer. A connection that ended is replaced by the next call."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from nats.aio.client import Client, RawCredentials
from nats.errors import AuthorizationError, Error, NoRespondersError, NoServersError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, RetentionPolicy, StreamConfig, StreamInfo
from nats.js.errors import BadRequestError, NoStreamResponseError, NotFoundError, ServiceUnavailableError

from skyferry.clouds.credentials import TokenProvider, renew_refused
from skyferry.clouds.tls import expects_tls, make_tls_context
from skyferry.config.servers.address import ServerAddress
from skyferry.config.servers.tls import TlsSettings
from skyferry.errors import CannotSend, QueueError
from skyferry.frozen import dataclass
from skyferry.tasks.cancellation import keep_cancellation

T = TypeVar("T")
FAILURES = (Error, OSError, TimeoutError)
# Also where the stream or the consumer was deleted
GONE = (NoRespondersError, ServiceUnavailableError, NoStreamResponseError, NotFoundError)
PENDING = 20_000  # messages of one consumer that are leased at once: more than all that a worker keeps
ALIVE = 2  # seconds that a server has for a pong, and a connection to close
OVERLAP = 10065  # JetStream's code: another stream has the subject
RUNS = "Check that the server runs, and the host and the port of the URL."
RIGHTS = "Grant the user publish to $JS.API.>, $JS.ACK.> and the subject, and subscribe to _INBOX.>."
REFUSED = "Check the credentials: identity.secret_file, or NATS_CREDENTIALS."


class _EncryptedClient(Client):
    """A client that sends credentials over TLS only. The driver goes on without TLS if the server does not require it."""

    def _connect_command(self) -> bytes:
        if not self._server_info.get("tls_required"):
            raise Error("TLS is not required by the server, so nothing was sent to it")
        command: bytes = super()._connect_command()
        return command


@dataclass(frozen=True, slots=True)
class NatsOptions:
    """Options of one connection."""

    address: ServerAddress
    tls: bool
    certificates: TlsSettings
    lease: float  # seconds: the ack wait of a consumer that is made
    connect_timeout: float = 5.0  # seconds
    timeout: float = 10.0  # seconds, of a request


class NatsConnection:
    """A client of one consumer, which is made unless it exists; so is the stream, if the URL has a subject for it."""

    def __init__(self, name: str, options: NatsOptions, secret: TokenProvider) -> None:
        self.options, self._name, self._secret = options, name, secret
        self.stream, self.consumer = options.address.path
        self.subject = options.address.option("subject")
        self._client: Client | None = None
        self._subscription: JetStreamContext.PullSubscription | None = None
        self._lost = False  # the next receive looks for the stream and the consumer, and makes them
        self._sent = ""  # the last secret
        self._denied = ""  # the last message about a denied request, which the server does not answer otherwise
        self._opening = asyncio.Lock()
        self._answered = False  # once: its encryption is right
        self.ack_wait = options.lease  # seconds, as the consumer has it
        self.limits_receives = False  # the consumer does not deliver a message again that was delivered too often
        self.closed = False

    async def run(self, call: Callable[[Client, JetStreamContext], Awaitable[T]]) -> T:
        """Return the result of `call`. Raises QueueError."""
        return await keep_cancellation(self._run(call))  # the driver loses one while it connects

    async def _run(self, call: Callable[[Client, JetStreamContext], Awaitable[T]]) -> T:
        try:
            client = await self._connect()
            return await call(client, client.jetstream(timeout=self.options.timeout))
        except FAILURES as error:
            self._lost = self._lost or isinstance(error, GONE)
            raise await self._explain(error) from error

    async def subscribe(self) -> JetStreamContext.PullSubscription:
        """Return the subscription of the current connection. Raises QueueError."""
        return await keep_cancellation(self._subscribe())

    async def _subscribe(self) -> JetStreamContext.PullSubscription:
        try:
            client = await self._connect()
            if self._lost:
                await self.unsubscribe()  # or server and client would keep it for as long as the connection
            if self._subscription is None:
                info = await self._make_consumer(client.jetstream(timeout=self.options.timeout))
                self.ack_wait = info.config.ack_wait or self.options.lease
                self.limits_receives = (info.config.max_deliver or -1) > 0
                context = client.jetstream(timeout=self.options.timeout)
                self._subscription = await context.pull_subscribe_bind(consumer=self.consumer, stream=self.stream)
            return self._subscription
        except FAILURES as error:
            raise await self._explain(error) from error

    async def unsubscribe(self) -> None:
        """End the subscription: the server drops a request that still waits for it."""
        subscription, self._subscription, self._lost = self._subscription, None, False
        if subscription is not None:
            with suppress(*FAILURES):
                await subscription.unsubscribe()

    async def close(self) -> None:
        """Close the connection. Idempotent."""
        self.closed = True
        await self._drop()

    async def _connect(self) -> Client:
        if self.closed:
            raise QueueError("it is closed", where=self._name)
        async with self._opening:
            if self._client is None or not self._client.is_connected:
                await self._drop()
                try:
                    self._client = await self._open()
                except AuthorizationError:
                    if not await renew_refused(self._secret, self._sent):
                        raise
                    self._client = await self._open()  # the secret was replaced
                self._answered = True
            return self._client

    async def _drop(self) -> None:
        self._subscription = None
        client, self._client = self._client, None
        if client is not None:
            with suppress(*FAILURES):
                await asyncio.wait_for(client.close(), ALIVE)  # it would wait until a silent server reads

    async def _leave_silent_server(self) -> None:
        """Drop a connection without a pong, so that the next call connects to another server."""
        client = self._client
        try:
            if client is not None:
                await client.flush(ALIVE)
        except FAILURES:
            if client is self._client:
                await self._drop()

    async def _open(self) -> Client:
        options, address = self.options, self.options.address
        self._sent = await self._secret()
        arguments = _credentials(self._sent, address.user)
        if options.tls:
            arguments["tls"] = await asyncio.to_thread(make_tls_context, options.certificates, self._name)
            arguments["tls_hostname"] = address.hosts[0][0]
        scheme, client = ("tls", _EncryptedClient()) if options.tls else ("nats", Client())
        failures: list[Exception] = []

        async def note(error: Exception) -> None:
            failures.append(error)
            if "ermissions" in str(error):  # with p or P
                self._denied = str(error)

        try:
            await client.connect(
                [f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}" for host, port in address.hosts],
                name="skyferry",
                error_cb=note,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=int(options.connect_timeout),
                **arguments,
            )
        except BaseException as error:  # also a cancellation: the driver leaves its connection open
            if (transport := getattr(client, "_transport", None)) is not None:
                with suppress(*FAILURES, AttributeError):
                    transport.close()
            if not isinstance(error, FAILURES):
                raise
            raise (failures[-1] if isinstance(error, NoServersError) and failures else error) from error
        return client

    async def find_consumer(self) -> ConsumerInfo | None:
        """Return the consumer, or None if the first receive makes it. Raises QueueError if it is none to pull from."""
        return await self.run(lambda client, context: self._find_consumer(context))

    async def find_stream(self) -> StreamInfo | None:
        """Return the stream, or None if the first receive makes it. Raises QueueError if that cannot make it."""
        return await self.run(lambda client, context: self._find_stream(context))

    async def _find_consumer(self, context: JetStreamContext) -> ConsumerInfo | None:
        """Return the consumer, or None if there is none. Raises QueueError if it is none to pull from."""
        try:
            info: ConsumerInfo = await context.consumer_info(self.stream, self.consumer)
        except NotFoundError:
            return None
        self._check_consumer(info)
        return info

    async def _make_consumer(self, context: JetStreamContext) -> ConsumerInfo:
        """Return the consumer, made if need be. Raises QueueError if it is none to pull from."""
        if (info := await self._find_consumer(context)) is None:
            if await self._find_stream(context) is None:
                config = StreamConfig(name=self.stream, subjects=[self.subject], retention=RetentionPolicy.WORK_QUEUE)
                try:
                    await context.add_stream(config)
                except BadRequestError as error:
                    if error.err_code != OVERLAP:
                        raise
                    found = await context.find_stream_name_by_subject(self.subject)
                    raise self._refuse(*self.describe_overlap(found)) from error
            wanted = ConsumerConfig(
                durable_name=self.consumer,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=self.options.lease,
                max_deliver=-1,
                max_ack_pending=PENDING,
            )
            info = await context.add_consumer(self.stream, wanted)
            self._check_consumer(info)
        return info

    async def find_limits(self) -> tuple[int, bool]:
        """Return the size of the largest message that the server accepts, in bytes, and True if it is part of a cluster."""

        async def ask(client: Client, context: JetStreamContext) -> tuple[int, bool]:
            return client.max_payload, bool(getattr(client, "_server_info", {}).get("cluster"))

        return await self.run(ask)

    async def find_other_stream(self) -> str:
        """Return the name of the stream that has the subject; "" = there is none. Raises QueueError."""
        try:
            return await self.run(lambda client, context: context.find_stream_name_by_subject(self.subject))
        except QueueError as error:
            if isinstance(error.__cause__, NotFoundError):
                return ""
            raise

    def describe_overlap(self, other: str) -> tuple[str, str]:
        """Return why the stream cannot be made, and what to do."""
        what = f"stream {self.stream} cannot be made: its subject {self.subject} belongs to stream {other}"
        return what, f"Name that stream in the URL: {other}/{self.consumer}?subject={self.subject}; or another subject."

    def _check_consumer(self, info: ConsumerInfo) -> None:
        if info.config.deliver_subject:
            raise self._refuse(f"consumer {self.consumer} pushes", "Name a pull consumer.")
        if info.config.ack_policy != AckPolicy.EXPLICIT:
            hint = "Name a consumer with the ack policy explicit."
            raise self._refuse(f"consumer {self.consumer} does not wait for acknowledgements", hint)

    async def _find_stream(self, context: JetStreamContext) -> StreamInfo | None:
        """Return the stream; None if there is none and the URL has the subject to make it for. Raises QueueError without one."""
        try:
            info: StreamInfo = await context.stream_info(self.stream)
        except NotFoundError as error:
            if not self.subject:
                hint = "Create it: nats stream add; or add ?subject=SUBJECT, and it is made for that subject."
                raise self._refuse(f"stream {self.stream} does not exist", hint) from error
            return None
        return info

    def require_subject(self) -> str:
        """Return the subject to send to. Raises CannotSend without one."""
        if not self.subject:
            raise CannotSend("the URL has no subject to send to", where=self._name, hint="Add ?subject=SUBJECT.")
        return self.subject

    async def _explain(self, error: Exception) -> QueueError:
        """Return the error. A server that has never let this client in is asked if it expects TLS before its first line."""
        if isinstance(error, TimeoutError):
            if denied := self._denied:
                self._denied, said = "", f"refused at {self.options.address.shown}: {denied}"
                return self._refuse(said, RIGHTS)
            await self._leave_silent_server()
        found, (host, port) = self._translate(error), self.options.address.hosts[0]
        if found.transient is None and not (self._answered or self.options.tls) and await expects_tls(host, port):
            return self._refuse(f"the server expects TLS at {self.options.address.shown}", "Use tls://.")
        return found

    def _translate(self, error: Exception) -> QueueError:
        said, hint, transient = str(error) or type(error).__name__, "", None
        at = "" if (shown := self.options.address.shown) in said else f" at {shown}"
        if isinstance(error, AuthorizationError) or "uthoriz" in said or "ermissions" in said:
            said, hint, transient = f"refused{at}: {said}", REFUSED, False
        elif "TLS" in said or "SSL" in said or "certificate" in said:
            said, hint, transient = (
                f"TLS failed{at}: {said}",
                "Check tls://, tls.ca_file, that the certificate names the host, and `tls` of the server.",
                False,
            )
        elif isinstance(error, ServiceUnavailableError) or "no responders" in said:
            said, hint = (
                f"JetStream does not answer{at}: {said}",
                "Enable JetStream at the server, and for the account. A stream that was deleted is looked for again.",
            )
        elif isinstance(error, TimeoutError):
            said, hint = f"no answer in time{at}: {said}", RUNS
        elif isinstance(error, OSError | NoServersError) or "closed" in said or "empty response" in said:
            said, hint = f"cannot be reached{at}: {said}", RUNS
        return QueueError(said, where=self._name, hint=hint, transient=transient)

    def _refuse(self, said: str, hint: str) -> QueueError:
        """Return an error that no waiting heals."""
        return QueueError(said, where=self._name, hint=hint, transient=False)


def _credentials(secret: str, user: str) -> dict[str, Any]:
    """Return the arguments for a secret: a credentials file, the seed of an NKey, a password of `user`, or a token.

    Raises QueueError if a package is missing.
    """
    if not secret:
        return {"user": user} if user else {}
    file = "-----BEGIN NATS USER JWT-----" in secret
    seed = len(secret) == 58 and secret.startswith("SU") and secret.isalnum() and secret.isupper()
    if (file or seed) and importlib.util.find_spec("nkeys") is None:
        raise QueueError(
            "NKeys and credentials files need the package nkeys", hint="Install it: pip install nkeys. It has no wheel."
        )
    if file:
        return {"user_credentials": RawCredentials(secret)}
    if seed:
        return {"nkeys_seed_str": secret}
    return {"user": user, "password": secret} if user else {"token": secret}
