-- Dead letters. `hidden_until` is the end of a lease to redrive, `publish_at` that of a lease to publish.

-- name: drop_redriven
DELETE FROM @schema.letters WHERE redriven_at IS NOT NULL AND id = ANY($1::text[])

-- name: add
INSERT INTO @schema.letters (id, transfer, at, route, reason, key, source_key, bucket, letter)
SELECT i.id, i.transfer, i.at, i.route, i.reason, i.key, i.source_key, i.bucket, i.letter
FROM unnest($1::text[], $2::bytea[], $3::bigint[], $4::text[], $5::text[], $6::bytea[], $7::bytea[], $8::bytea[], $9::text[])
    WITH ORDINALITY AS i (id, transfer, at, route, reason, key, source_key, bucket, letter, n)
ORDER BY i.n ON CONFLICT (id) DO NOTHING

-- name: get
SELECT letter, redriven_at FROM @schema.letters WHERE id = $1

-- name: count
SELECT route, reason, count(*) AS n FROM @schema.letters GROUP BY route, reason ORDER BY n DESC, route, reason

-- name: count_unrouted
SELECT bucket, count(*) AS n FROM @schema.letters WHERE bucket IS NOT NULL GROUP BY bucket ORDER BY n DESC, bucket LIMIT $1

-- name: count_redriven
SELECT count(*) FROM @schema.letters WHERE redriven_at IS NOT NULL AND hidden_until > -1

-- name: is_due_redrive
SELECT EXISTS (SELECT FROM @schema.letters WHERE redriven_at IS NOT NULL AND hidden_until <= @schema.ledger_now())

-- name: is_due_publish
SELECT EXISTS (SELECT FROM @schema.letters WHERE publish_at <= @schema.ledger_now() AND publish_at IS NOT NULL AND redriven_at IS NULL)

-- name: take_redrive
-- $1 limit, $2 lease in ticks
WITH due AS (
    SELECT id, hidden_until AS due FROM @schema.letters WHERE redriven_at IS NOT NULL AND hidden_until <= @schema.ledger_now()
    ORDER BY hidden_until, serial LIMIT $1 FOR UPDATE SKIP LOCKED
), taken AS (
    UPDATE @schema.letters AS l SET hidden_until = @schema.ledger_now() + $2 FROM due WHERE l.id = due.id
    RETURNING l.letter, l.redriven_at, due.due, l.serial
)
SELECT letter, redriven_at FROM taken ORDER BY due, serial

-- name: take_publish
-- $1 limit, $2 lease in ticks
WITH due AS (
    SELECT id, publish_at AS due FROM @schema.letters
    WHERE publish_at <= @schema.ledger_now() AND publish_at IS NOT NULL AND redriven_at IS NULL
    ORDER BY publish_at, serial LIMIT $1 FOR UPDATE SKIP LOCKED
), taken AS (
    UPDATE @schema.letters AS l SET publish_at = @schema.ledger_now() + $2 FROM due WHERE l.id = due.id
    RETURNING l.letter, l.redriven_at, due.due, l.serial
)
SELECT letter, redriven_at FROM taken ORDER BY due, serial

-- name: finish_redrive
-- $1 ids, $2 times
DELETE FROM @schema.letters AS l USING unnest($1::text[], $2::bigint[]) AS i (id, at)
WHERE l.id = i.id AND l.at = i.at AND l.redriven_at IS NOT NULL

-- name: finish_publish
UPDATE @schema.letters AS l SET publish_at = NULL FROM unnest($1::text[], $2::bigint[]) AS i (id, at) WHERE l.id = i.id AND l.at = i.at

-- name: reschedule_redrive
-- $1 ids, $2 times, $3 delay in ticks
UPDATE @schema.letters AS l SET hidden_until = @schema.ledger_now() + $3 FROM unnest($1::text[], $2::bigint[]) AS i (id, at)
WHERE l.id = i.id AND l.at = i.at AND l.redriven_at IS NOT NULL

-- name: reschedule_publish
UPDATE @schema.letters AS l SET publish_at = @schema.ledger_now() + $3 FROM unnest($1::text[], $2::bigint[]) AS i (id, at)
WHERE l.id = i.id AND l.at = i.at AND l.publish_at IS NOT NULL

-- name: list
-- `:chosen` is the filter
SELECT at, serial, letter, redriven_at FROM @schema.letters WHERE (at, serial) < ($1, $2) AND :chosen
ORDER BY at DESC, serial DESC LIMIT $3

-- name: redrive
WITH chosen AS (
    SELECT key, transfer FROM @schema.letters WHERE redriven_at IS NULL AND :chosen
), moved AS (
    UPDATE @schema.transfers AS t SET state = 1, due_at = @schema.ledger_now(), updated_at = @schema.ledger_now(), burned = 0, lost = 0
    FROM chosen AS l JOIN @schema.places AS p USING (key) WHERE t.place = p.id AND t.id = l.transfer AND t.state = 4 RETURNING 1
), marked AS (
    UPDATE @schema.letters SET redriven_at = @schema.ledger_now(), hidden_until = @schema.ledger_now() WHERE redriven_at IS NULL AND :chosen RETURNING 1
)
SELECT (SELECT count(*) FROM moved), (SELECT count(*) FROM marked)

-- name: discard
WITH chosen AS (
    SELECT l.id, l.transfer, t.place FROM @schema.letters AS l
    LEFT JOIN (@schema.places AS p JOIN @schema.transfers AS t ON t.place = p.id) ON p.key = l.key AND t.id = l.transfer
    WHERE t.state IS DISTINCT FROM 0 AND l.id IN (SELECT id FROM @schema.letters WHERE :chosen) FOR UPDATE OF l
), old AS (
    SELECT t.place, t.id, t.state FROM chosen AS c JOIN @schema.transfers AS t ON t.place = c.place AND t.id = c.transfer
    WHERE t.state IN (1, 4) FOR UPDATE OF t
), moved AS (
    UPDATE @schema.transfers AS t SET state = 5, due_at = NULL, updated_at = @schema.ledger_now() FROM old
    WHERE t.place = old.place AND t.id = old.id
    RETURNING old.state
), deleted AS (
    DELETE FROM @schema.letters AS l USING chosen WHERE l.id = chosen.id RETURNING 1
)
SELECT (SELECT count(*) FROM moved WHERE state = 4), (SELECT count(*) FROM moved WHERE state = 1), (SELECT count(*) FROM deleted)
