"""The rights on tables that a role lacks, with the statement that grants them."""

from __future__ import annotations

from collections.abc import Sequence

from skyferry.ports.inspection import Wrong
from skyferry.postgres.pool import Connection
from skyferry.postgres.schema import quote_name

RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")
_LACKING = """SELECT c.relname, r.name FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace,
    unnest($3::text[]) WITH ORDINALITY AS r (name, number)
WHERE n.nspname = $1 AND c.relname = ANY($2::text[]) AND c.relkind = 'r' AND NOT has_table_privilege(c.oid, r.name)
ORDER BY c.relname, r.number"""


async def find_lacking_rights(
    connection: Connection, schema: str, tables: Sequence[str], rights_needed: Sequence[str] = RIGHTS
) -> Wrong | None:
    """Return which rights the role lacks on these tables, and the grant; None if it has all. A table may not exist yet."""
    found = await connection.fetch(_LACKING, schema, tables, rights_needed)
    if not found:
        return None
    role = await connection.fetchval("SELECT current_user")
    lacking = list(dict.fromkeys(table for table, _ in found))
    rights = ", ".join(right for right in RIGHTS if any(right == each for _, each in found))
    names = ", ".join(f"{quote_name(schema)}.{quote_name(table)}" for table in lacking)
    grant = f"GRANT {rights} ON {names} TO {quote_name(role)};"
    tables_shown = f"{'table' if len(lacking) == 1 else 'tables'} {', '.join(lacking)} of schema {schema}"
    return Wrong(f"the role {role} lacks {rights} on {tables_shown}", f"Run with the role that owns them: {grant}")
