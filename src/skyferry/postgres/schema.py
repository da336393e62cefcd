"""The schema that the tables of queues and ledgers are in. Statements name it as `@schema`, for a pooler forgets a search path."""

from __future__ import annotations

from skyferry.postgres.pool import Connection

MAKING = 0x536B7966  # the advisory lock of a process that makes tables; one for all, since they share the schema
_VERSION = """SELECT coalesce(obj_description(c.oid, 'pg_class'), '') FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2"""
_EXISTS = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)"


def quote_name(name: str) -> str:
    """Return a name as it is written in a statement."""
    return '"' + name.replace('"', '""') + '"'


def complete_statement(sql: str, schema: str) -> str:
    """Replace `@schema`, also where it begins a string, as the argument of `nextval`."""
    quoted = quote_name(schema)
    literal = quoted.replace("'", "''")
    return sql.replace("'@schema.", f"'{literal}.").replace("@schema", quoted)


async def find_version(connection: Connection, schema: str, table: str) -> str | None:
    """Return the comment of a table, which names the version of its tables; None if there is no such table."""
    found: str | None = await connection.fetchval(_VERSION, schema, table)
    return found


async def ensure_tables(connection: Connection, schema: str, table: str, sql: str) -> str:
    """Make the schema and its tables by `sql` unless `table` exists. Return the version that is there.

    A role that may not create schemas can use one that exists.
    """
    if (found := await find_version(connection, schema, table)) is not None:
        return found
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", MAKING)
        if (found := await find_version(connection, schema, table)) is None:
            if not await connection.fetchval(_EXISTS, schema):
                await connection.execute(complete_statement("CREATE SCHEMA @schema", schema))
            await connection.execute(complete_statement(sql, schema))
            found = await find_version(connection, schema, table)
    return found or ""
