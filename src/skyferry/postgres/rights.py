"""The rights on a schema, its tables and its sequences that a role lacks, with the statements that grant them."""

from __future__ import annotations

from collections.abc import Sequence

from skyferry.ports.inspection import Wrong
from skyferry.postgres.pool import Connection
from skyferry.postgres.schema import quote_name
from skyferry.sql.schema_steps import SchemaHistory

RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")
_LACKING = """SELECT 'SCHEMA' AS kind, NULL::name AS relname, 'USAGE' AS name FROM pg_namespace
WHERE nspname = $1 AND NOT has_schema_privilege(oid, 'USAGE')
UNION ALL SELECT 'TABLE', c.relname, r.name FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace,
    unnest($3::text[]) AS r (name)
WHERE n.nspname = $1 AND c.relname = ANY($2::text[]) AND c.relkind = 'r' AND NOT has_table_privilege(c.oid, r.name)
UNION ALL SELECT 'SEQUENCE', c.relname, 'USAGE' FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = ANY($4::text[]) AND c.relkind = 'S' AND NOT has_sequence_privilege(c.oid, 'USAGE')
ORDER BY relname"""
KINDS = ("SCHEMA", "TABLE", "SEQUENCE")


async def find_lacking_rights(
    connection: Connection, schema: str, history: SchemaHistory, rights_needed: Sequence[str] = RIGHTS
) -> Wrong | None:
    """Return which rights the role lacks on what `history` makes, and the grants; None if it has all.

    `rights_needed` are those on tables, which may not exist yet.
    """
    found = await connection.fetch(_LACKING, schema, history.tables, rights_needed, history.sequences)
    if not found:
        return None
    role = await connection.fetchval("SELECT current_user")
    lacks, grants = [], []
    for kind in KINDS:
        names = list(dict.fromkeys(name for each, name, _ in found if each == kind))
        lacking = {right for each, _, right in found if each == kind}
        rights = ", ".join(right for right in (*RIGHTS, "USAGE") if right in lacking)
        if not names:
            continue
        lacks.append(f"{rights} on {_describe(kind, names, schema)}")
        targets = [f"{quote_name(schema)}.{quote_name(name)}" if name else quote_name(schema) for name in names]
        what = "" if kind == "TABLE" else f"{kind} "
        grants.append(f"GRANT {rights} ON {what}{', '.join(targets)} TO {quote_name(role)};")
    hint = f"Run with the role that owns them: {' '.join(grants)}"
    return Wrong(f"the role {role} lacks {', and '.join(lacks)}", hint)


def _describe(kind: str, names: Sequence[str | None], schema: str) -> str:
    if names == [None]:
        return f"schema {schema}"
    return f"{kind.lower()}{'s' * (len(names) > 1)} {', '.join(map(str, names))} of schema {schema}"
