-- Queries of transfers and placements.

-- name: get
-- By the index of ids alone as long as the schema has it, else the newest block first
WITH one AS (SELECT to_regclass('@schema.transfers_pkey') IS NOT NULL AS indexed)
SELECT t.transfer, t.state, t.reason, t.burned, t.lost, t.created_at, t.updated_at, t.due_at, t.receipt
FROM @schema.transfers AS t WHERE t.id = $1 AND (SELECT indexed FROM one)
UNION ALL (
    SELECT t.transfer, t.state, t.reason, t.burned, t.lost, t.created_at, t.updated_at, t.due_at, t.receipt
    FROM generate_series(
        (SELECT max(serial >> 15) FROM @schema.transfers WHERE NOT (SELECT indexed FROM one)),
        (SELECT min(serial >> 15) FROM @schema.transfers WHERE NOT (SELECT indexed FROM one)), -1
    ) AS block JOIN @schema.transfers AS t ON t.serial >> 15 = block
    WHERE t.id = $1 AND NOT (SELECT indexed FROM one) LIMIT 1
)

-- name: ids
-- $1 first, $2 last, $3 limit. As above
WITH one AS (SELECT to_regclass('@schema.transfers_pkey') IS NOT NULL AS indexed)
SELECT t.id FROM @schema.transfers AS t WHERE t.id BETWEEN $1 AND $2 AND (SELECT indexed FROM one)
UNION ALL
SELECT t.id FROM generate_series(
    (SELECT max(serial >> 15) FROM @schema.transfers WHERE NOT (SELECT indexed FROM one)),
    (SELECT min(serial >> 15) FROM @schema.transfers WHERE NOT (SELECT indexed FROM one)), -1
) AS block JOIN @schema.transfers AS t ON t.serial >> 15 = block
WHERE t.id BETWEEN $1 AND $2 AND NOT (SELECT indexed FROM one) LIMIT $3

-- name: failures
SELECT transfer, failure FROM @schema.failures WHERE transfer = ANY($1::bytea[]) ORDER BY serial

-- name: few
-- Count the keys with a prefix, but no further than the limit
SELECT count(*) FROM (SELECT 1 FROM @schema.places WHERE key >= $1 AND key < $2 LIMIT $3) AS few

-- name: counts
SELECT n::integer - 1, sum(c)::bigint FROM @schema.owners, unnest(counts) WITH ORDINALITY AS u (c, n) GROUP BY n

-- name: oldest_unsettled
SELECT o.route, t.transfer FROM (
    SELECT route, min(serial) AS serial FROM @schema.transfers WHERE state IN (0, 1) GROUP BY route
) AS o JOIN @schema.transfers AS t ON t.serial = o.serial AND t.route = o.route AND t.state IN (0, 1)

-- name: placements
-- $1 store, $2 keys
SELECT key, placement FROM @schema.places WHERE store = $1 AND key = ANY($2::bytea[]) AND placement IS NOT NULL

-- name: placed
-- $1 store, $2 key of the last one, $3 bucket, $4 limit
SELECT key, CASE WHEN bucket = $3 THEN placement END FROM @schema.places WHERE key > $2 AND store = $1 ORDER BY key LIMIT $4
