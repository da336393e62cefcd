-- Workers and roles. Times are in ticks.

-- name: heartbeat
-- $1 owner, $2 lease, $3 state, $4 heartbeat, $5 wanted roles, sorted: two workers lock the rows in one order. Rows that
-- another heartbeat has locked are left for the next one. A role is granted by its own row, of which ON CONFLICT sees the newest
WITH recorded AS (
    INSERT INTO @schema.workers (name, at, until, state, heartbeat)
    VALUES ($1, @schema.ledger_now(), @schema.ledger_now() + $2, $3, $4)
    ON CONFLICT (name) DO UPDATE SET at = excluded.at, until = excluded.until, state = excluded.state, heartbeat = excluded.heartbeat
), silent AS (
    DELETE FROM @schema.workers WHERE name IN (
        SELECT name FROM @schema.workers WHERE until <= @schema.ledger_now() AND name <> $1 FOR UPDATE SKIP LOCKED
    )
), ended AS (
    DELETE FROM @schema.roles WHERE name IN (
        SELECT name FROM @schema.roles
        WHERE until <= @schema.ledger_now() AND holder <> $1 AND name <> ALL($5::text[]) FOR UPDATE SKIP LOCKED
    )
), freed AS (
    DELETE FROM @schema.roles WHERE holder = $1 AND name <> ALL($5::text[])
), taken AS (
    INSERT INTO @schema.roles (name, holder, since, until)
    SELECT w.name, $1, @schema.ledger_now(), @schema.ledger_now() + $2 FROM unnest($5::text[]) WITH ORDINALITY AS w (name, n) ORDER BY w.n
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until,
        since = CASE WHEN roles.holder = excluded.holder AND roles.until > @schema.ledger_now() THEN roles.since ELSE excluded.since END
    WHERE roles.holder = excluded.holder OR roles.until <= @schema.ledger_now()
    RETURNING name
)
SELECT name FROM taken ORDER BY name

-- name: leave
WITH left_over AS (DELETE FROM @schema.roles WHERE holder = $1) DELETE FROM @schema.workers WHERE name = $1

-- name: list_workers
-- $1 after, $2 limit
SELECT w.name, w.heartbeat, @schema.ledger_now() - w.at, h.names, h.ages
FROM @schema.workers AS w LEFT JOIN LATERAL (
    SELECT array_agg(r.name ORDER BY r.name) AS names, array_agg(@schema.ledger_now() - r.since ORDER BY r.name) AS ages
    FROM @schema.roles AS r WHERE r.holder = w.name AND r.until > @schema.ledger_now()
) AS h ON true
WHERE w.until > @schema.ledger_now() AND w.name > $1 ORDER BY w.name LIMIT $2

-- name: count_workers
SELECT state, count(*) FROM @schema.workers WHERE until > @schema.ledger_now() GROUP BY state
