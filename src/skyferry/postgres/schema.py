"""The schema that the tables of queues and ledgers are in: its version, and the steps that it lacks.

Statements name it as `@schema`, for a pooler forgets a search path. The version is in the comment of a table. Programs from before
there were steps read the last number there as the version, and refuse one that they do not know.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

import asyncpg

from skyferry.frozen import dataclass
from skyferry.ports.inspection import Wrong
from skyferry.postgres.pool import Connection
from skyferry.sql.schema_steps import SchemaHistory, SchemaStep, SchemaVersion

MAKING = 0x536B7966  # the advisory lock of a process that makes tables; one for all, since they share the schema
CONTRACTING = MAKING + 1  # with the schema: the lock of a contraction, for which older programs that connect wait
LONG = 24 * 3600.0  # seconds that a step may take, and that another process waits for it
# Limits of the server or the role that would end a long step or check, or the wait for another process, each time at the same point
UNLIMITED = """SELECT set_config(name, '0', true) FROM pg_settings
WHERE name IN ('statement_timeout', 'transaction_timeout', 'lock_timeout')"""
LOCKED = "5s"  # how long a step waits for the lock of a table; all other statements on that table wait behind it
TRIES = 20  # to get that lock
PAUSE = 1.0  # seconds between two tries
_COMMENT = re.compile(r"skyferry (\w+) (\d+)(?:, compatible from (\d+))?")
_READ = """SELECT coalesce(obj_description(c.oid, 'pg_class'), '') FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2"""
_MAY_APPLY = """SELECT CASE
    WHEN n.oid IS NULL THEN has_database_privilege(current_database(), 'CREATE')
    ELSE has_schema_privilege(n.oid, 'CREATE') AND (c.oid IS NULL OR pg_has_role(c.relowner, 'USAGE'))
END
FROM (VALUES (1)) AS one LEFT JOIN pg_namespace AS n ON n.nspname = $1
LEFT JOIN pg_class AS c ON c.relnamespace = n.oid AND c.relname = $2"""
_OWNER = """SELECT pg_get_userbyid(c.relowner) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2 AND NOT pg_has_role(c.relowner, 'USAGE')"""
_EXISTS = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)"
Permit = Callable[[Connection, SchemaStep], Awaitable[None]]  # raises an error if a step must wait


def quote_name(name: str) -> str:
    """Return a name as it is written in a statement."""
    return '"' + name.replace('"', '""') + '"'


def complete_statement(sql: str, schema: str) -> str:
    """Replace `@schema`, also where it begins a string, as the argument of `nextval`."""
    quoted = quote_name(schema)
    literal = quoted.replace("'", "''")
    return sql.replace("'@schema.", f"'{literal}.").replace("@schema", quoted)


async def read_schema_version(connection: Connection, schema: str, history: SchemaHistory) -> SchemaVersion:
    """Return the version of the tables of `history`. Raises its error if the comment does not have one."""
    if (said := await connection.fetchval(_READ, schema, history.marker)) is None:
        return SchemaVersion()
    if (match := _COMMENT.fullmatch(said)) is None or match[1] != history.kind:
        hint = f"Restore the comment from a backup, such as 'skyferry {history.kind} {history.known}'; or name another schema."
        problem = (
            f"the comment of the table {history.marker} is {said!r}, without the version of Skyferry's {history.kind}"
        )
        raise history.error(problem, where=f"schema {schema}", hint=hint)
    return SchemaVersion(int(match[2]), int(match[3] or match[2]))


async def read_known_version(connection: Connection, schema: str, history: SchemaHistory) -> SchemaVersion:
    """Return the version of a schema that this program may use. Raises the history's error if this program is too old.

    A contraction in progress counts: it looks for older programs under a lock, so a program that has connected since then waits
    for that lock. A program that knows the version need not wait, because only steps that it knows can be in progress.
    No program waits for an expansion: it may take hours, and older programs work meanwhile.
    """
    at = await read_schema_version(connection, schema, history)
    if at.number > history.known:
        async with connection.transaction(isolation="read_committed"):
            await connection.execute(UNLIMITED)
            lock = "SELECT pg_advisory_xact_lock_shared($1, hashtext($2))"
            await connection.execute(lock, CONTRACTING, schema, timeout=LONG)
            at = await read_schema_version(connection, schema, history)
    history.check_compatible(at, f"schema {schema}")
    return at


@dataclass(frozen=True, slots=True)
class SchemaState:
    """The tables as they are, and what the first start does about them."""

    schema: str  # the name
    version: int  # 0 = there are no tables
    pending: tuple[str, ...]  # expansions, which each start applies
    may_apply: bool  # the role may
    owner: str = ""  # of the tables, if it is another role

    @property
    def note(self) -> str:
        """The state, for people."""
        if not self.version:
            return f"schema {self.schema}, whose tables the first start creates"
        steps = f" of version {self.version}; the next start applies {', '.join(self.pending)}" if self.pending else ""
        return f"schema {self.schema}{steps}"

    def find_fault(self, role: str, remedy: str) -> Wrong | None:
        """Return why the first start will fail, if it will. `remedy` applies the steps."""
        if self.may_apply or not self.pending:
            return None
        steps = "create its tables" if not self.version else f"apply {', '.join(self.pending)}"
        problem = f"the role {role} may not {steps} in schema {self.schema}"
        return Wrong(problem, _suggest_role(role, self.owner, remedy))


def _suggest_role(role: str, owner: str, remedy: str) -> str:
    """Return the hint for a role that may not apply a step. Only the owner of a table changes it, whatever others are granted."""
    if owner:
        return f"Run {remedy} with the role {owner}, which owns the tables."
    grant = f"Grant {role} CREATE on the schema if it exists, otherwise on the database"
    return f"{grant}; or run {remedy} with a role that owns it."


async def read_schema_state(connection: Connection, schema: str, history: SchemaHistory) -> SchemaState:
    """Return the state, and change nothing. Raises the history's error if the schema is too new, or not Skyferry's."""
    at = await read_schema_version(connection, schema, history)
    history.check_compatible(at, f"schema {schema}")
    pending = tuple(str(step) for step in history.list_pending(at) if not step.contracts)
    may_apply = bool(await connection.fetchval(_MAY_APPLY, schema, history.marker))
    owner = str(await connection.fetchval(_OWNER, schema, history.marker) or "")
    return SchemaState(schema, at.number, pending, may_apply, owner)


async def ensure_schema(connection: Connection, schema: str, history: SchemaHistory) -> None:
    """Apply all pending expansions. Raises the history's error if the schema is too new, or if the role may not apply them."""
    while await apply_next_step(connection, schema, history):
        pass


async def apply_next_step(
    connection: Connection,
    schema: str,
    history: SchemaHistory,
    *,
    contract: bool = False,
    permit: Permit | None = None,
) -> SchemaStep | None:
    """Apply the first pending step in one transaction, and return it; None if there is none. A process waits for another."""
    at = await read_known_version(connection, schema, history)
    if (step := history.find_next(at, contract=contract)) is None:
        return None  # the usual case: without a lock
    for attempt in range(TRIES):
        try:
            return await _apply_next_step(connection, schema, history, contract=contract, permit=permit)
        except asyncpg.LockNotAvailableError as error:
            if attempt == TRIES - 1:
                hint = "Wait for the end of long transactions, such as a backup, and try again."
                problem = f"step {step} cannot be applied: {error}"
                raise history.error(problem, where=f"schema {schema}", hint=hint) from error
            await asyncio.sleep(PAUSE)
        except asyncpg.InsufficientPrivilegeError as error:
            role = await connection.fetchval("SELECT current_user")
            owner = str(await connection.fetchval(_OWNER, schema, history.marker) or "")
            hint = _suggest_role(role, owner, history.remedy)
            problem = f"role {role} may not apply step {step}: {error}"
            raise history.error(problem, where=f"schema {schema}", hint=hint) from error
    return None


async def _apply_next_step(
    connection: Connection, schema: str, history: SchemaHistory, *, contract: bool, permit: Permit | None
) -> SchemaStep | None:
    async with connection.transaction(isolation="read_committed"):  # it must see what the process before it has made
        await connection.execute(UNLIMITED)
        await connection.execute("SELECT pg_advisory_xact_lock($1)", MAKING, timeout=LONG)
        at = await read_schema_version(connection, schema, history)
        history.check_compatible(at, f"schema {schema}")
        if (step := history.find_next(at, contract=contract)) is None:
            return None
        if step.contracts:
            await connection.execute(
                "SELECT pg_advisory_xact_lock($1, hashtext($2))", CONTRACTING, schema, timeout=LONG
            )
        if permit is not None:
            await permit(connection, step)
        if not await connection.fetchval(_EXISTS, schema):
            await connection.execute(complete_statement("CREATE SCHEMA @schema", schema))
        await connection.execute(f"SET LOCAL lock_timeout = '{LOCKED}'")
        await connection.execute(complete_statement(step.sql, schema), timeout=LONG)
        comment = f"COMMENT ON TABLE @schema.{history.marker} IS '{_format_comment(history.kind, step.advance(at))}'"
        await connection.execute(complete_statement(comment, schema))
    return step


def _format_comment(kind: str, version: SchemaVersion) -> str:
    text = f"skyferry {kind} {version.number}"
    return text if version == SchemaVersion(1, 1) else f"{text}, compatible from {version.compatible_from}"
