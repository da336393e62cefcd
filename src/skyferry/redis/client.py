"""A client of one Redis, of a cluster, or of the primary of sentinels, with the secrets of the moment, and errors with hints."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Generic, TypeAlias, TypeVar

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider

from skyferry.clouds.credentials import TokenProvider, renew_refused
from skyferry.clouds.tls import answers_without_tls, expects_tls, make_tls_context
from skyferry.config.servers.tls import TlsSettings
from skyferry.errors import SkyferryError
from skyferry.frozen import dataclass
from skyferry.redis.address import RedisAddress
from skyferry.redis.sentinel import REFUSED, UNKNOWN, Sentinels, connect_primary
from skyferry.regex import compile_lazily
from skyferry.tasks.cancellation import keep_cancellation

T = TypeVar("T")
E = TypeVar("E", bound=SkyferryError)
Client: TypeAlias = Any  # Redis or RedisCluster: their types of answers depend on the protocol
FAILURES = (exceptions.RedisError, exceptions.RedisClusterException, OSError, TimeoutError)
UNAUTHENTICATED = "Set the password, in identity.secret_file or REDIS_PASSWORD."
RIGHTS = "Give the user the commands and the keys of the queue or ledger: ACL SETUSER."
RENAMED = "Remove its line rename-command from the configuration of the server."
UNSERVED = "Slots of the cluster are not served, see CLUSTER INFO; requests are retried."
# By the first word of an answer, or by one in it: scripts put words of their own in front.
_HINTS = {
    UNKNOWN: "Correct the option sentinel: SENTINEL MASTERS lists the names of the primaries.",
    f"{REFUSED}: unknown command": "Name the sentinels in the URL, not the servers; or remove sentinel from it.",
    REFUSED: "Give the URL sentinel_secret_file=FILE with the password of the sentinels; without it, they get that of the server.",
    "WRONGPASS": "Check the user of the URL, and the source of the password (identity.secret_file or REDIS_PASSWORD).",
    "Authentication required": UNAUTHENTICATED,
    "unauthenticated": UNAUTHENTICATED,
    "DENIED": "Set a password at the server, which is in protected mode, or connect from its own machine.",
    "DB index": "Correct the option db: the server has as many databases as its setting `databases`, 16 by default.",
    "Cluster mode is not enabled": "Remove cluster=on from the URL.",
    "SELECT is not allowed": "It is a member of a cluster: add ?cluster=on instead of db.",
    "slots are not covered": UNSERVED,
    "NOPERM": RIGHTS,
    "The user executing the script": RIGHTS,
    "BUSY": "Another script keeps the server busy: SCRIPT KILL ends it.",
    "NOREPLICAS": "Too few replicas follow: see min-replicas-to-write; it waits for them.",
    "OOM": "Raise maxmemory; it waits until there is room.",
    "MISCONF": "The server cannot write to its disk; see its log.",
    "READONLY": "It is a replica. Name the primary.",
    "LOADING": "The server is starting; requests are retried.",
    "MASTERDOWN": "The replica has lost its primary; requests are retried.",
    "MOVED": "It is a member of a cluster: add ?cluster=on.",
    "CROSSSLOT": "The keys are in different slots of the cluster: use {braces} around a common part of both names.",
    "CLUSTERDOWN": UNSERVED,
    "nknown Redis command": RENAMED,
    "unknown command": f"{RENAMED} Or use Redis 6.2 or newer, or Valkey. If it is a sentinel, add ?sentinel=PRIMARY.",
}
# Digests and line numbers of scripts, and arguments of commands, which do not help an operator
_NOISE = compile_lazily(
    r"^Error running script .*?: (?=@user_script)|@user_script: ?\d+: |, with args beginning with:.*"
)
_KINDS = (  # of errors whose first word the driver removes
    (exceptions.NoPermissionError, "NOPERM"),
    (exceptions.ReadOnlyError, "READONLY"),
    (exceptions.BusyLoadingError, "LOADING"),
    (exceptions.OutOfMemoryError, "OOM"),
    (exceptions.AuthenticationError, "WRONGPASS"),
    (exceptions.MasterDownError, "MASTERDOWN"),
    (exceptions.ClusterDownError, "CLUSTERDOWN"),
    (exceptions.ClusterCrossSlotError, "CROSSSLOT"),
    (exceptions.MovedError, "MOVED"),
)
# Of a server that starts, is full, has lost its primary or its disk, or is being replaced
_TRANSIENT = frozenset(
    {
        "BUSY",
        "NOREPLICAS",
        "OOM",
        "MISCONF",
        "READONLY",
        "LOADING",
        "MASTERDOWN",
        "CLUSTERDOWN",
        "slots are not covered",
    }
)
CONNECTIONS = 8  # of one client, without those that wait for messages
FOREIGN = "Check the host and the port of the URL: another program may answer there."
RUNS = "Check that the server runs, and the host and the port of the URL."


@dataclass(frozen=True, slots=True)
class RedisOptions:
    """Options of one client."""

    address: RedisAddress
    tls: TlsSettings = TlsSettings()
    connect_timeout: float = 10.0  # seconds
    timeout: float = 30.0  # seconds without an answer; a command that blocks adds its own time
    wrong_type: str = ""  # the hint for keys that another program uses


class _Password(CredentialProvider):
    def __init__(self, user: str, password: TokenProvider) -> None:
        self._user, self._password, self.sent = user, password, ""

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        self.sent = await self._password()
        if not (self._user or self.sent):
            return ()  # type: ignore[return-value]  # redis-py sends no AUTH for it, which its annotation omits
        return self._user or "default", self.sent  # a user without a password may be `nopass`, and is never `default`


class RedisClient(Generic[E]):
    """Runs commands. Each failure is raised as `kind`."""

    def __init__(self, name: str, options: RedisOptions, password: TokenProvider, kind: type[E]) -> None:
        self.address = options.address
        self._name, self._options, self._kind = name, options, kind
        self._password, self._provider = password, _Password(options.address.server.user, password)
        self._client: Client = None
        self._waiting: Client = None
        self._slots = asyncio.Semaphore(CONNECTIONS)  # the driver fails where it should wait
        self._answered = False  # once: its encryption is right
        self.closed = False

    async def run(self, call: Callable[[Client], Awaitable[T]], *, waits: float = 0.0) -> T:
        """Return the result of `call`, and try once more if the password was replaced. `waits`: seconds that it blocks."""
        return await keep_cancellation(self._run(call, waits))  # the driver loses one while it connects

    async def _run(self, call: Callable[[Client], Awaitable[T]], waits: float) -> T:
        try:
            return await self._try(call, waits)
        except exceptions.AuthenticationError as error:
            if not await renew_refused(self._password, self._provider.sent):
                raise self._translate(error) from error
        except FAILURES as error:
            found = await self._explain(error)
            if found.hint == _HINTS["READONLY"] or (self.address.sentinel and found.transient):
                await self._disconnect()
            raise found from error
        try:
            return await self._try(call, waits)
        except FAILURES as error:
            raise self._translate(error) from error

    async def close(self) -> None:
        """Close all connections. Idempotent."""
        self.closed = True
        for client in (self._client, self._waiting):
            if client is not None:
                with suppress(*FAILURES):
                    await client.aclose()

    async def _disconnect(self) -> None:
        """Use no open connection again. A server that was demoted keeps them; its address may lead to the new primary by now."""
        for client in (self._client, self._waiting):
            if client is not None and not self.address.is_cluster:
                with suppress(*FAILURES):
                    await client.connection_pool.disconnect(inuse_connections=False)

    async def _try(self, call: Callable[[Client], Awaitable[T]], waits: float) -> T:
        if self.closed:
            raise self._kind("it is closed", where=self._name)
        try:
            if waits:
                self._waiting = self._waiting or self._make(self._options.timeout + waits)
                result = await call(self._waiting)
            else:
                async with self._slots:
                    self._client = self._client or self._make(self._options.timeout)
                    result = await call(self._client)
            self._answered = True
            return result
        except RuntimeError as error:
            if "closed" not in str(error):
                raise
            raise ConnectionResetError(str(error)) from error  # of uvloop: a write to a connection that has ended

    def _make(self, timeout: float) -> Client:
        address, options = self.address, self._options
        files = options.tls
        common: dict[str, Any] = {
            "credential_provider": self._provider,
            "socket_connect_timeout": options.connect_timeout,
            "socket_timeout": timeout,
            "retry": Retry(NoBackoff(), 0),  # the engine repeats: a script that was repeated here would lease twice
            "socket_keepalive": True,
            "protocol": 2,
        }
        if address.tls:
            make_tls_context(files, self._name)  # names an unreadable file; the driver makes its own
            common |= {
                "ssl": True,
                "ssl_ca_certs": files.ca_file and str(files.ca_file),
                "ssl_certfile": files.cert_file and str(files.cert_file),
                "ssl_keyfile": (files.key_file or files.cert_file) and str(files.key_file or files.cert_file),
            }
        if address.is_cluster:
            return RedisCluster(startup_nodes=[ClusterNode(*host) for host in address.server.hosts], **common)
        if address.sentinel:
            sentinels = Sentinels(address.server.hosts, address.sentinel_secret_file, self._provider, common)
            common |= {"db": address.database, "max_connections": CONNECTIONS}
            return connect_primary(address.sentinel, sentinels, **common)
        host, port = address.server.hosts[0]
        return Redis(host=host, port=port, db=address.database, max_connections=CONNECTIONS, **common)

    async def _explain(self, error: Exception) -> E:
        """Return the error. A server that has never answered is asked if it is the URL that is wrong about TLS."""
        found = self._translate(error)
        if found.transient and not self._answered:
            (host, port), shown = self.address.server.hosts[0], self.address.server.shown
            if not self.address.tls and await expects_tls(host, port):
                said, hint = (
                    f"the server expects TLS at {shown}",
                    "Use rediss://, and tls.ca_file for an authority of your own.",
                )
                return self._kind(said, where=self._name, hint=hint, transient=False)
            if self.address.tls and await answers_without_tls(host, port, b"PING\r\n", b"+-"):
                hint = "Name the port that expects TLS, or use redis:// if the network is trusted."
                return self._kind(f"the server has no TLS at {shown}", where=self._name, hint=hint, transient=False)
        return found

    @property
    def _encryption(self) -> str:
        return "It must expect TLS there." if self.address.tls else "If it expects TLS there, use rediss://."

    def _translate(self, error: Exception) -> E:
        said = (str(error) or type(error).__name__).splitlines()[0]
        said = _NOISE.sub("", said.partition(" script: ")[0])
        named = next((word for kind, word in _KINDS if isinstance(error, kind)), "")
        word = next((word for word in _HINTS if word in said), named)
        hint, transient = _HINTS.get(word, ""), word in _TRANSIENT
        if "WRONGTYPE" in said:
            hint = self._options.wrong_type
        at = "" if (shown := self.address.server.shown) in said else f" at {shown}"
        if not hint and isinstance(error, TimeoutError | exceptions.TimeoutError):
            said, hint, transient = f"no answer in time{at}: {said}", f"{RUNS} {self._encryption}", True
        elif not hint and isinstance(error, exceptions.InvalidResponse):
            said, hint = f"no answer of Redis{at}: {said}", FOREIGN
        elif not hint and isinstance(error, OSError | exceptions.ConnectionError):
            hint, transient = f"{RUNS} {self._encryption}", True
            if "CERTIFICATE" in said or "SSL" in said:
                hint, transient = "Check rediss://, tls.ca_file, and that the certificate names the host.", False
            said = f"cannot be reached{at}: {said}"
        elif hint and at:
            said = f"{said} ({at.strip()})"
        return self._kind(said, where=self._name, hint=hint, transient=transient)
