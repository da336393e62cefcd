-- The statements of the PostgreSQL queue. Each handles a whole batch in one round trip, and commits by itself.

-- name: send
-- Add messages and wake receivers. $1 queue, $2 bodies, $3 attributes, $4 priorities, $5 head starts, $6 delays, $7 channel
WITH added AS (
    INSERT INTO @schema.message (queue, body, attributes, priority, enqueued_at, rank, until)
    SELECT $1, body, attributes, priority, clock_timestamp(), clock_timestamp() - head * interval '1 second',
        CASE WHEN delay > 0 THEN clock_timestamp() + delay * interval '1 second' END
    FROM unnest($2::bytea[], $3::text[], $4::text[], $5::float8[], $6::float8[])
        WITH ORDINALITY AS given (body, attributes, priority, head, delay, number)
    ORDER BY number
    RETURNING id
)
SELECT id, CASE WHEN row_number() OVER (ORDER BY id) = 1 THEN pg_notify($7, '') END FROM added ORDER BY id

-- name: send_once
-- The same with dedup ids ($8, NULL = none). A repeated one gives the id of the first, if it is visible yet
WITH given AS MATERIALIZED (
    SELECT nextval(pg_get_serial_sequence($9, 'id')) AS id, * FROM unnest($2::bytea[], $3::text[], $4::text[], $5::float8[], $6::float8[], $8::bytea[])
        WITH ORDINALITY AS given (body, attributes, priority, head, delay, dedup_id, number)
), added AS (
    INSERT INTO @schema.message (queue, id, body, attributes, priority, dedup_id, enqueued_at, rank, until)
    OVERRIDING SYSTEM VALUE
    SELECT $1, id, body, attributes, priority, dedup_id, clock_timestamp(), clock_timestamp() - head * interval '1 second',
        CASE WHEN delay > 0 THEN clock_timestamp() + delay * interval '1 second' END
    FROM given ORDER BY number
    ON CONFLICT (queue, dedup_id) WHERE dedup_id IS NOT NULL DO NOTHING
    RETURNING id, dedup_id
)
SELECT coalesce(
        (SELECT added.id FROM added WHERE added.id = given.id),
        (SELECT added.id FROM added WHERE added.dedup_id = given.dedup_id),
        (SELECT first.id FROM @schema.message AS first WHERE first.queue = $1 AND first.dedup_id = given.dedup_id)
    ) AS id, CASE WHEN number = 1 THEN pg_notify($7, '') END
FROM given ORDER BY number

-- name: find
-- The message with a dedup id
SELECT id FROM @schema.message WHERE queue = $1 AND dedup_id = $2

-- name: take
-- Lease up to $2 messages for $3 seconds to the owner $4, which names the process and this call: those whose time has come, and the
-- first of those that are ready
WITH due AS (
    SELECT id, rank FROM @schema.message
    WHERE queue = $1 AND until <= clock_timestamp()
    ORDER BY until LIMIT $2 FOR UPDATE SKIP LOCKED
), ready AS (
    SELECT id, rank FROM @schema.message
    WHERE queue = $1 AND until IS NULL
    ORDER BY rank, id LIMIT $2 FOR UPDATE SKIP LOCKED
), chosen AS (
    SELECT id FROM (SELECT * FROM due UNION ALL SELECT * FROM ready) AS found ORDER BY rank, id LIMIT $2
), leased AS (
    UPDATE @schema.message AS message
    SET until = clock_timestamp() + $3 * interval '1 second', attempt = attempt + 1, owner = $4
    FROM chosen WHERE message.queue = $1 AND message.id = chosen.id
    RETURNING message.id, body, attributes, priority, extract(epoch FROM enqueued_at)::float8 AS sent, attempt, rank
)
SELECT id, body, attributes, priority, sent, attempt FROM leased ORDER BY rank, id

-- name: due
-- Seconds until the next hidden message is due. At most $2 while a message is ready: a receiver locks more rows than it leases, and
-- this one has skipped those
SELECT least(
    (SELECT extract(epoch FROM min(until) - clock_timestamp())::float8 FROM @schema.message WHERE queue = $1 AND until IS NOT NULL),
    (SELECT $2::float8 FROM @schema.message WHERE queue = $1 AND until IS NULL LIMIT 1)
)

-- name: extend
-- Extend the valid ones of the leases $2 (ids), $3 (attempts), $4 (owners) to $5 seconds from now. A server that has lost its last
-- messages gives their ids to others, so id and attempt are not enough
UPDATE @schema.message AS message SET until = clock_timestamp() + $5 * interval '1 second'
FROM unnest($2::bigint[], $3::int[], $4::text[]) AS held (id, attempt, owner)
WHERE message.queue = $1 AND message.id = held.id AND message.attempt = held.attempt AND message.owner = held.owner
RETURNING message.id, message.attempt, message.owner

-- name: ack
DELETE FROM @schema.message AS message USING unnest($2::bigint[], $3::int[], $4::text[]) AS held (id, attempt, owner)
WHERE message.queue = $1 AND message.id = held.id AND message.attempt = held.attempt AND message.owner = held.owner

-- name: release
-- End the leases; the messages are due after $5 seconds. $6 channel
WITH released AS (
    UPDATE @schema.message AS message
    SET owner = NULL, until = CASE WHEN $5 > 0 THEN clock_timestamp() + $5 * interval '1 second' END
    FROM unnest($2::bigint[], $3::int[], $4::text[]) AS held (id, attempt, owner)
    WHERE message.queue = $1 AND message.id = held.id AND message.attempt = held.attempt AND message.owner = held.owner
    RETURNING 1
)
SELECT pg_notify($6, '') FROM (SELECT count(*) AS released FROM released) AS counted WHERE released > 0

-- name: free
-- End all leases of the process $2. $3 channel
WITH freed AS (
    UPDATE @schema.message SET owner = NULL, until = CASE WHEN until > clock_timestamp() THEN NULL ELSE until END
    WHERE queue = $1 AND until IS NOT NULL AND starts_with(owner, $2 || '/')
    RETURNING 1
)
SELECT pg_notify($3, '') FROM (SELECT count(*) AS freed FROM freed) AS counted WHERE freed > 0

-- name: depth
-- Ready, due, leased and delayed messages, each counted up to $2, and the age of the oldest
SELECT
    (SELECT count(*) FROM (SELECT 1 FROM @schema.message WHERE queue = $1 AND until IS NULL LIMIT $2) AS ready)
    + (SELECT count(*) FROM (SELECT 1 FROM @schema.message WHERE queue = $1 AND until <= clock_timestamp() LIMIT $2) AS due),
    (SELECT count(*) FROM (SELECT 1 FROM @schema.message WHERE queue = $1 AND until > clock_timestamp() AND owner IS NOT NULL LIMIT $2) AS leased),
    (SELECT count(*) FROM (SELECT 1 FROM @schema.message WHERE queue = $1 AND until > clock_timestamp() AND owner IS NULL LIMIT $2) AS delayed),
    (SELECT extract(epoch FROM clock_timestamp() - enqueued_at)::float8 FROM @schema.message WHERE queue = $1 ORDER BY id LIMIT 1)

-- name: facts
-- The user, the server, TLS, and the rights
SELECT current_user AS who, current_setting('server_version') AS version,
    pg_is_in_recovery() AS standby,
    coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS ssl,
    coalesce(has_table_privilege(to_regclass($1), 'SELECT, UPDATE, DELETE'), false) AS receives,
    coalesce(has_table_privilege(to_regclass($1), 'INSERT'), false) AS sends
