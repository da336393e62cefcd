"""Filters as SQL conditions with numbered parameters. The SQL is made of constants only."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from skyferry.ledgers import rules
from skyferry.model import State
from skyferry.ports import Filter
from skyferry.ports.ledger.held_deletes import HeldFilter


class SqlConditions:
    """SqlConditions joined by AND, and the values of their parameters, behind those that a statement has already."""

    def __init__(self, *values: Any) -> None:
        self.values = list(values)
        self._tests = ["true"]

    def add(self, sql: str, *values: Any, when: bool = True) -> None:
        """Add a condition if `when` is True. Each `?` in it is the parameter of the next value."""
        if when:
            for value in values:
                self.values.append(value)
                sql = sql.replace("?", f"${len(self.values)}", 1)
            self._tests.append(sql)

    def __str__(self) -> str:
        return " AND ".join(self._tests)


def encode_key(key: str) -> bytes:
    """Return the bytes of a key, or of a name from an event."""
    return key.encode("utf-8", "surrogatepass")


def decode_key(key: bytes) -> str:
    """Invert `encode_key`."""
    return key.decode("utf-8", "surrogatepass")


def above(prefix: bytes) -> bytes:
    """Return the first bytes behind every string with this prefix. No UTF-8 has a byte 0xFF."""
    return prefix + b"\xff"


def select_letters(where: Filter, ids: Sequence[str] | None, *values: Any) -> SqlConditions:
    """Return the condition on the table `letters`."""
    found, low = SqlConditions(*values), encode_key(where.key_prefix)
    found.add("false", when=where.state not in (None, State.DEAD))
    found.add("route = ?", where.route, when=bool(where.route))
    found.add("key >= ? AND key < ?", low, above(low), when=bool(low))
    found.add("source_key = ?", encode_key(where.source_key), when=bool(where.source_key))
    found.add("reason = ?", where.reason, when=bool(where.reason))
    found.add("at >= ?", to_ticks(where.since), when=where.since is not None)
    found.add("at < ?", to_ticks(where.until), when=where.until is not None)
    found.add("at <= @schema.ledger_now() - ?", to_ticks(where.idle), when=bool(where.idle))
    found.add("id = ANY(?::text[])", list(ids or ()), when=ids is not None)
    return found


def select_held(where: HeldFilter, ids: Collection[str] | None, *values: Any) -> SqlConditions:
    """Return the condition on the table `held_deletes`."""
    found, prefix = SqlConditions(*values), encode_key(where.prefix)
    found.add("state = ?", where.state, when=bool(where.state))
    found.add("store = ?", where.store, when=bool(where.store))
    found.add("reason = ?", where.reason, when=bool(where.reason))
    found.add("? = ANY(routes)", where.route, when=bool(where.route))
    found.add("key >= ? AND key < ?", prefix, above(prefix), when=bool(prefix))
    found.add("at = ?", to_ticks(where.at), when=where.at is not None)
    found.add("id = ANY(?::text[])", list(ids or ()), when=ids is not None)
    return found


def to_ticks(seconds: float | None) -> int:
    """Return a time in ticks; 0 for None, whose condition is not added."""
    return 0 if seconds is None else rules.to_ticks(seconds)
