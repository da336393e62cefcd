"""Translate the driver's exceptions into errors with hints."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

import asyncpg

from skyferry.errors import SkyferryError

E = TypeVar("E", bound=SkyferryError)
# Classes of SQLSTATE, or whole ones: connections, resources, a server that starts, stops or is a standby, faults of the system
_TRANSIENT = (
    *("08000", "08001", "08003", "08004", "08006", "25006", "25P03", "25P04", "40", "53", "55P03"),
    *("57P01", "57P02", "57P03", "57P05", "57014", "58"),
)
# Those that name the server: of connections, of credentials, of a missing database, of a server that is full, starts or stops
_OF_SERVER = ("08", "28", "3D", "53", "57P", "25006")


class StalePrimary(Exception):
    """The server accepts writes, but another one was promoted after it."""


FAILURES = (
    StalePrimary,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # also where the server ends during an operation
    OSError,  # also ssl.SSLError
    TimeoutError,
)
REFUSED = (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError)
ABORTED = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)  # so that another transaction can go on
STANDBY = (asyncpg.ReadOnlySQLTransactionError,)
RUNS = "Check that the server runs, and the host and the port of the URL."
POOLED = "Behind a pooler in transaction mode, add pooler=transaction to the URL."
BUSY = "Check that the pooler reaches PostgreSQL, and its limits, such as max_client_conn. Its log has the reason."
OTHER = "Check that PostgreSQL listens at the port of the URL, and see its log."
STALE = (
    "Stop that server, or make it a standby (pg_rewind): what it records is lost. If the cluster was set back to an older state on "
    "purpose, restart this process."
)
FAILOVER = "A failover may be under way; requests are retried. List all servers of the cluster in the URL."
DEMANDS_TLS = (
    "If the server demands TLS, add sslmode=verify-full to the URL; if not, check pg_hba.conf for this machine."
)
UTF8 = "Use a database whose encoding is UTF8: CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8'."
LOST = "The server closed it; requests are retried. If it happens again and again, see the log of the server."
# Words of the driver about a connection that ended during a transaction: its own methods and states say nothing to people
_LOST = ("connection is closed", "cannot switch to state", 'cannot switch to "idle" state')
_NO_CONNECTION = "08004"
# By SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html
_HINTS: Mapping[str, str] = MappingProxyType(
    {
        "28P01": "Check the user of the URL, and the source of the password (identity.secret_file, PGPASSWORD or identity.login).",
        "28000": "Check the user of the URL, and the lines of pg_hba.conf for this machine.",
        "3D000": "Create the database, or correct its name in the URL.",
        "42501": "Grant the role the permission.",
        "42P01": "Grant the role CREATE on the schema, or let its owner run Skyferry once.",
        "3F000": "Grant the role CREATE on the database, or create the schema.",
        "22P05": UTF8,
        "25006": "If it is a read-only standby, list all servers of the cluster in the URL, separated by commas. "
        "If not, set default_transaction_read_only = off for the role, the database or the server.",
        "53300": "Raise max_connections or the CONNECTION LIMIT of the role or the database, or put a pooler in front.",
        "53100": "Free space on the disk of the server.",
        "53400": "Raise the limit that the message names, such as temp_file_limit of the role.",
        "55000": "If the database accepts no connections, run: ALTER DATABASE … ALLOW_CONNECTIONS true.",
        "57P03": "The server is starting or stopping; requests are retried.",
        "57P01": "The server is stopping; requests are retried.",
        "57P02": "The server crashed and restarts; requests are retried.",
        "57014": "Raise statement_timeout of the role to 30s: ALTER ROLE … SET statement_timeout = '30s'.",
        "08P01": POOLED,
        "26000": POOLED,
        "42P05": POOLED,
        _NO_CONNECTION: BUSY,
        "08003": OTHER,
        "08006": OTHER,
    }
)


# The states of what PgBouncer says as FATAL 08P01, by words of it; all else passes
_REFUSED_BY_POOLER = (
    *(("role ", "28000"), ("no such user", "28000"), ("auth", "28000"), ("SSL required", "28000")),
    *(("no such database", "3D000"), ("does not exist", "3D000"), ("is disabled", "3D000"), ("unsupported", "0A000")),
)
_POOLER_HAS_NONE = ("query_wait_timeout", "server_login_retry", "max_client_conn")


def translate_error(error: Exception, kind: type[E], where: str, server: str) -> E:
    """Return the error for an exception of FAILURES. `server`: its hosts, for people."""
    said, hint = _translate(error, server)
    return kind(said, where=where, hint=hint, transient=is_transient(error))


def choose_failure(failures: Sequence[BaseException]) -> BaseException:
    """Return the failure that says most, of those of several servers: what waiting does not heal, then the answer of a server."""
    return min(failures, key=_rank_failure)


def _rank_failure(error: BaseException) -> int:
    if not isinstance(error, FAILURES) or not is_transient(error):
        return 0
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return 2
    is_answer = isinstance(error, asyncpg.PostgresError) and not _find_state(error).startswith(("08", "57P"))
    return 1 if is_answer else 3


def is_transient(error: Exception) -> bool:
    """Return True if the cause of an exception of FAILURES may pass by itself."""
    if isinstance(error, asyncpg.PostgresError):
        return _find_state(error).startswith(_TRANSIENT)
    return not isinstance(error, ssl.SSLError | asyncpg.exceptions.ClientConfigurationError) and "SSL" not in str(error)


def _find_state(error: asyncpg.PostgresError) -> str:
    """Return the SQLSTATE. PgBouncer has one for all that it says at a connection, so its words are looked at."""
    state, said = str(getattr(error, "sqlstate", "") or ""), str(error)
    if any(word in said for word in _POOLER_HAS_NONE):
        return _NO_CONNECTION
    if state == "08P01" and getattr(error, "severity", "") == "FATAL":
        return next((found for word, found in _REFUSED_BY_POOLER if word in said), _NO_CONNECTION)
    return state


def _translate(error: Exception, server: str) -> tuple[str, str]:
    """Return the message and the hint."""
    if isinstance(error, asyncpg.PostgresError):
        state = _find_state(error)
        said = (str(error) or type(error).__name__).splitlines()[0]
        hint = DEMANDS_TLS if "no encryption" in said else _HINTS.get(state, "")
        return f"{said} (at {server})" if state.startswith(_OF_SERVER) else said, hint
    if isinstance(error, ssl.SSLCertVerificationError):
        hint = "Set tls.ca_file to the authority of the server, and name the host as its certificate does."
        return f"the certificate of {server} is not accepted: {error.verify_message}", hint
    if isinstance(error, ssl.SSLError) or "SSL" in str(error):
        return f"TLS failed at {server}: {error}", "Check that the server has `ssl = on`, and sslmode."
    if isinstance(error, StalePrimary):
        return (
            f"the server that accepts writes has been replaced by another one, which does not answer: {server}",
            STALE,
        )
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return f"none of the servers accepts writes: {server}", FAILOVER
    if isinstance(error, TimeoutError):
        return f"no answer in time at {server}", RUNS
    if isinstance(error, OSError):
        return f"cannot be reached at {server}: {error.strerror or error}", RUNS
    if any(words in str(error) for words in _LOST):
        return f"the connection to {server} was lost", LOST
    return f"the connection to {server} failed: {str(error).splitlines()[0]}", RUNS
