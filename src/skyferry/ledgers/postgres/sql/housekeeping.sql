-- Refusals, held deletes, identities, and pruning.

-- name: is_read_only
SELECT current_setting('transaction_read_only') = 'on'

-- name: add_refusals
-- Of several with one key, the last one stays
INSERT INTO @schema.refusals (key, bucket, at, refusal)
SELECT DISTINCT ON (i.key, i.bucket) i.key, i.bucket, i.at, i.refusal
FROM unnest($1::bytea[], $2::bytea[], $3::bigint[], $4::text[]) WITH ORDINALITY AS i (key, bucket, at, refusal, n)
ORDER BY i.key, i.bucket, i.n DESC
ON CONFLICT (key, bucket) DO UPDATE SET at = excluded.at, refusal = excluded.refusal

-- name: list_refusals
SELECT refusal FROM @schema.refusals WHERE key = $1 ORDER BY at DESC, bucket

-- name: get_identity
SELECT identity FROM @schema.identities WHERE source = $1

-- name: set_identity
INSERT INTO @schema.identities (source, identity) VALUES ($1, $2) ON CONFLICT (source) DO UPDATE SET identity = excluded.identity

-- name: hold
INSERT INTO @schema.held_deletes (id, state, store, reason, at, provider, bucket, key, routes)
SELECT i.id, i.state, i.store, i.reason, i.at, i.provider, i.bucket, i.key, string_to_array(i.routes, chr(10))
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::bytea[], $9::text[])
    WITH ORDINALITY AS i (id, state, store, reason, at, provider, bucket, key, routes, n)
ORDER BY i.n ON CONFLICT (id) DO NOTHING RETURNING 1

-- name: count_held
SELECT store, reason, count(*) FROM @schema.held_deletes WHERE state = 'held' GROUP BY store, reason ORDER BY store, reason

-- name: find_held
SELECT id FROM @schema.held_deletes WHERE id = ANY($1::text[])

-- name: list_approved
SELECT serial, state, store, reason, at, decided_at, provider, bucket, key, routes FROM @schema.held_deletes
WHERE state = 'approved' ORDER BY serial LIMIT $1

-- name: list_held
SELECT serial, state, store, reason, at, decided_at, provider, bucket, key, routes FROM @schema.held_deletes
WHERE serial < $1 AND :chosen ORDER BY serial DESC LIMIT $2

-- name: decide
-- $1 the new state, $2 the states from which it is possible
WITH decided AS (
    UPDATE @schema.held_deletes SET state = $1, decided_at = @schema.ledger_now() WHERE state = ANY($2::text[]) AND :chosen
    RETURNING reason, provider, bucket
), forgotten AS (
    DELETE FROM @schema.identities WHERE source IN (SELECT provider || '://' || bucket FROM decided WHERE reason = 'replaced')
)
SELECT count(*) FROM decided

-- name: forget_held
DELETE FROM @schema.held_deletes WHERE id = ANY($1::text[]) RETURNING 1

-- name: prune_transfers
-- $1 age in ticks, $2 limit. A row that a worker has locked is left for the next time
WITH old AS (
    SELECT place, id FROM (
        (SELECT place, id, updated_at, serial FROM @schema.transfers WHERE state = 2 AND updated_at < @schema.ledger_now() - $1
         ORDER BY updated_at, serial LIMIT $2)
        UNION ALL
        (SELECT place, id, updated_at, serial FROM @schema.transfers WHERE state = 3 AND updated_at < @schema.ledger_now() - $1
         ORDER BY updated_at, serial LIMIT $2)
        UNION ALL
        (SELECT place, id, updated_at, serial FROM @schema.transfers WHERE state = 5 AND updated_at < @schema.ledger_now() - $1
         ORDER BY updated_at, serial LIMIT $2)
    ) AS settled ORDER BY updated_at, serial LIMIT $2
), locked AS (
    SELECT place, id FROM @schema.transfers AS t JOIN old USING (place, id) WHERE t.state IN (2, 3, 5) FOR UPDATE OF t SKIP LOCKED
), pruned AS (
    DELETE FROM @schema.transfers AS t USING locked WHERE t.place = locked.place AND t.id = locked.id
    RETURNING t.id, t.state, t.place
), failed AS (
    DELETE FROM @schema.failures WHERE transfer IN (SELECT id FROM pruned)
)
SELECT state, array_agg(place) FROM pruned GROUP BY state

-- name: lock_places
-- A destination that a worker has locked stays
SELECT id FROM @schema.places WHERE id = ANY($1::bigint[]) AND owner = 0 AND placement IS NULL FOR UPDATE SKIP LOCKED

-- name: prune_places
-- Only those that are locked, because a claim may add a transfer. Every table that refers to places.id MUST be checked here
DELETE FROM @schema.places AS p WHERE p.id = ANY($1::bigint[])
AND NOT EXISTS (SELECT FROM @schema.transfers WHERE place = p.id) AND NOT EXISTS (SELECT FROM @schema.uploads WHERE place = p.id)

-- name: prune_refusals
-- $1 age in ticks, $2 limit
WITH pruned AS (
    DELETE FROM @schema.refusals WHERE (key, bucket) IN (
        SELECT key, bucket FROM @schema.refusals WHERE at < @schema.ledger_now() - $1 ORDER BY at LIMIT $2
    ) RETURNING 1
)
SELECT count(*) FROM pruned
