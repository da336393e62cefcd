-- Statements of the release that knew version 4. Arrays have one element for each item of a batch.

-- name: enter
INSERT INTO @schema.owners (name) VALUES ($1) RETURNING id

-- name: leave
-- Add the counts of an owner to those of the processes that have ended
WITH left_over AS (DELETE FROM @schema.owners WHERE id = $1 RETURNING counts)
UPDATE @schema.owners SET counts = ARRAY(
    SELECT a + b FROM unnest(owners.counts, (SELECT counts FROM left_over)) WITH ORDINALITY AS both_ (a, b, n) ORDER BY n
) WHERE id = 0 AND EXISTS (SELECT FROM left_over)

-- name: lock
-- keys, stores, each once: lock the destinations in one order, so that two batches cannot block each other
SELECT p.key, p.store, p.id, p.owner, p.fence, p.until - @schema.ledger_now(), p.placement
FROM @schema.places AS p JOIN unnest($1::bytea[], $2::text[]) AS i (key, store) USING (key, store)
ORDER BY p.id FOR UPDATE OF p

-- name: look
-- ids. Locked, because redriving and discarding change transfers without their destination
SELECT t.id, t.state, t.reason, t.due_at - @schema.ledger_now(), t.burned, t.lost, t.owner
FROM @schema.transfers AS t WHERE t.id = ANY($1::bytea[]) ORDER BY t.id FOR UPDATE

-- name: lease
-- $1 owner, $2 lease in ticks; of each destination $3 number, NULL = it is missing, $4 whether its owner is new, $5 key, $6 store.
-- Returns position, number and fence of each. A missing destination is added; it has no position, but the order of its fence. Nothing
-- is returned for one that another process has added in the meantime.
WITH fenced AS MATERIALIZED (
    SELECT n, id, key, store, CASE WHEN fresh THEN nextval('@schema.fences') END AS fence FROM (
        SELECT * FROM unnest($3::bigint[], $4::boolean[], $5::bytea[], $6::text[]) WITH ORDINALITY AS i (id, fresh, key, store, n)
        ORDER BY n
    ) AS in_order
), renewed AS (
    UPDATE @schema.places AS p SET owner = $1, until = greatest(p.until, @schema.ledger_now() + $2), fence = coalesce(i.fence, p.fence)
    FROM fenced AS i WHERE p.id = i.id RETURNING i.n, p.id, p.fence
), founded AS (
    INSERT INTO @schema.places (key, store, owner, fence, until)
    SELECT key, store, $1, fence, @schema.ledger_now() + $2 FROM fenced WHERE id IS NULL ORDER BY key, store
    ON CONFLICT DO NOTHING RETURNING id, fence
)
SELECT n, id, fence FROM renewed UNION ALL SELECT NULL, id, fence FROM founded

-- name: claim
-- $1 owner; $2 ids, $3 destinations, $4 routes, $5 source keys, $6 transfers; $7 ids and $8 lost of known ones; $9 changes of counts
WITH added AS (
    INSERT INTO @schema.transfers (id, place, state, owner, created_at, updated_at, route, source_key, transfer)
    SELECT i.id, i.place, 0, $1, @schema.ledger_now(), @schema.ledger_now(), i.route, i.source_key, i.transfer
    FROM unnest($2::bytea[], $3::bigint[], $4::text[], $5::bytea[], $6::text[])
        WITH ORDINALITY AS i (id, place, route, source_key, transfer, n)
    ORDER BY i.n
), taken AS (
    UPDATE @schema.transfers AS t SET state = 0, owner = $1, lost = i.lost, due_at = NULL, reason = '', updated_at = @schema.ledger_now()
    FROM unnest($7::bytea[], $8::integer[]) AS i (id, lost) WHERE t.id = i.id
)
UPDATE @schema.owners SET counts = ARRAY(SELECT a + b FROM unnest(counts, $9::bigint[]) WITH ORDINALITY AS c (a, b, n) ORDER BY n)
WHERE id = $1

-- name: settle
-- $1 owner; $2 ids, $3 states, $4 reasons, $5 delays in ticks or NULL, $6 burned, $7 receipts or NULL;
-- $8 places, $9 freed, $10 placements or NULL, $11 their buckets; $12 ids and $13 failures; $14 places and $15 uploads closed;
-- $16 changes of counts
WITH settled AS (
    UPDATE @schema.transfers AS t SET state = i.state, reason = i.reason, due_at = @schema.ledger_now() + i.delay, burned = i.burned,
        receipt = coalesce(i.receipt, t.receipt), updated_at = @schema.ledger_now()
    FROM unnest($2::bytea[], $3::smallint[], $4::text[], $5::bigint[], $6::integer[], $7::text[])
        AS i (id, state, reason, delay, burned, receipt)
    WHERE t.id = i.id
), placed AS (
    UPDATE @schema.places AS p SET owner = CASE WHEN i.freed THEN 0 ELSE p.owner END, until = CASE WHEN i.freed THEN 0 ELSE p.until END,
        placement = coalesce(i.placement, p.placement),
        bucket = CASE WHEN i.placement IS NULL THEN p.bucket ELSE i.bucket END
    FROM unnest($8::bigint[], $9::boolean[], $10::text[], $11::text[]) AS i (id, freed, placement, bucket) WHERE p.id = i.id
), failed AS (
    INSERT INTO @schema.failures (transfer, failure)
    SELECT i.transfer, i.failure FROM unnest($12::bytea[], $13::text[]) WITH ORDINALITY AS i (transfer, failure, n) ORDER BY i.n
), closed AS (
    DELETE FROM @schema.uploads AS u USING unnest($14::bigint[], $15::text[]) AS i (place, upload)
    WHERE u.place = i.place AND u.upload = i.upload
)
UPDATE @schema.owners SET counts = ARRAY(SELECT a + b FROM unnest(counts, $16::bigint[]) WITH ORDINALITY AS c (a, b, n) ORDER BY n)
WHERE id = $1
