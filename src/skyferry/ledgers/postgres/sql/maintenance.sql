-- Checks from outside.

-- name: inconsistent
SELECT 'transfers without their destination', count(*) FROM @schema.transfers AS t
WHERE NOT EXISTS (SELECT FROM @schema.places WHERE id = t.place)
UNION ALL
SELECT 'uploads without their destination', count(*) FROM @schema.uploads AS u
WHERE NOT EXISTS (SELECT FROM @schema.places WHERE id = u.place)
UNION ALL
SELECT 'dead transfers without their letter', count(*) FROM @schema.transfers AS t
WHERE t.state = 4 AND NOT EXISTS (SELECT FROM @schema.letters WHERE transfer = t.id)
UNION ALL
SELECT 'states with a wrong count', count(*) FROM (
    SELECT n - 1 AS state, sum(c) AS counted FROM @schema.owners, unnest(counts) WITH ORDINALITY AS u (c, n) GROUP BY n
) AS counted LEFT JOIN (SELECT state, count(*) AS found FROM @schema.transfers GROUP BY state) AS found USING (state)
WHERE counted IS DISTINCT FROM coalesce(found, 0)

-- name: size
-- The version of the server, and the bytes of all tables of the schema $1
SELECT current_setting('server_version'), coalesce(sum(pg_total_relation_size(c.oid)), 0)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind = 'r'

-- name: log
-- If the server can compress images of pages in its log by lz4: its setting, and the bytes of all tables of the schema $1
SELECT setting, (
    SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind = 'r'
) FROM pg_settings WHERE name = 'wal_compression' AND 'lz4' = ANY(enumvals)

-- name: older_programs
-- Connections to this database of programs that know a version older than $1. Behind a pooler they have no name. The addresses
-- of another role are shown to few
SELECT count(*) || CASE count(*) WHEN 1 THEN ' connection ' ELSE ' connections ' END
    || CASE application_name WHEN '' THEN 'without a name' ELSE 'of ' || application_name END
    || ' by ' || usename || coalesce(' from ' || string_agg(DISTINCT host(client_addr), ' and '), '') AS client
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND usesysid IS NOT NULL AND (
    application_name IN ('', 'skyferry')
    OR substring(application_name FROM '^skyferry ledger ([0-9]{1,6})$')::integer < $1::integer
)
GROUP BY application_name, usename ORDER BY 1
