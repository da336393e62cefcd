"""Errors of PostgreSQL, and of a pooler in front of it, at a connection."""

from __future__ import annotations

import asyncpg
import pytest

from skyferry.errors import LedgerError
from skyferry.postgres.errors import BUSY, LOST, POOLED, translate_error


def say(said: str, state: str, severity: str) -> asyncpg.PostgresError:
    """Make the error as the driver makes it from a message of the server."""
    found = asyncpg.PostgresError.new({"S": severity, "V": severity, "C": state, "M": said})
    assert isinstance(found, asyncpg.PostgresError)
    return found


@pytest.mark.parametrize(
    ("said", "state", "severity", "transient", "hint"),
    [
        # PgBouncer 1.18, tried with each of these faults
        ("no more connections allowed (max_client_conn)", "08P01", "FATAL", True, BUSY),
        ("server login has been failing, try again later (server_login_retry)", "08P01", "FATAL", True, BUSY),
        ("connection was closed in the middle of operation: query_wait_timeout", "08003", "", True, BUSY),
        ("no such database: pooled", "08P01", "FATAL", False, "Create the database"),
        ('database "absent" does not exist', "08P01", "FATAL", False, "Create the database"),
        ("no such user: skyferry", "08P01", "FATAL", False, "Check the user"),
        ("bind message supplies 2 parameters, but prepared statement requires 1", "08P01", "ERROR", False, POOLED),
        ("canceling statement due to lock timeout", "55P03", "ERROR", True, ""),
        ("terminating connection due to idle-session timeout", "57P05", "FATAL", True, ""),
        ("temporary file size exceeds temp_file_limit (0kB)", "53400", "ERROR", True, "Raise the limit that"),
        ('database "d" is not currently accepting connections', "55000", "FATAL", False, "If the database accepts no"),
        ("could not serialize access due to concurrent update", "40001", "ERROR", True, ""),
        ('relation "x" does not exist', "42P01", "ERROR", False, "Grant the role CREATE"),
    ],
)
def test_what_waiting_heals_is_told_from_the_rest(
    said: str, state: str, severity: str, transient: bool, hint: str
) -> None:
    """A worker waits at its start for a pooler that has no connection to spare; a refusal ends it."""
    found = translate_error(say(said, state, severity), LedgerError, "ledger", "db:6432")
    assert (found.transient, found.hint.startswith(hint)) == (transient, True)
    assert bool(hint) == bool(found.hint)


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.InterfaceError("cannot call Transaction.__aexit__(): the underlying connection is closed"),
        asyncpg.InterfaceError("cannot perform operation: connection is closed"),
        asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress"),
        asyncpg.InternalClientError('cannot switch to "idle" state; protocol is in the "failed" state'),
    ],
)
def test_a_lost_connection_is_reported_without_the_words_of_the_driver(error: Exception) -> None:
    """As printed by workers while PostgreSQL 15 restarted."""
    found = translate_error(error, LedgerError, "ledger", "db:5432")
    assert (found.message, found.hint, found.transient) == ("the connection to db:5432 was lost", LOST, True)
