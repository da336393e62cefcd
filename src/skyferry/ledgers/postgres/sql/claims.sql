-- Claims, renewals and settlements. Arrays have one element for each item of a batch.

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
-- destinations, ids, each pair once, in order of the ids. Locked, because redriving and discarding change transfers without their
-- destination. LATERAL has each found by the index, whatever the statistics: those of a new ledger say that it is empty
SELECT t.* FROM unnest($1::bigint[], $2::bytea[]) AS i (place, id) CROSS JOIN LATERAL (
    SELECT t.id, t.state, t.reason, t.due_at - @schema.ledger_now(), t.burned, t.lost, t.owner
    FROM @schema.transfers AS t WHERE t.place = i.place AND t.id = i.id FOR UPDATE
) AS t

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
-- $1 owner; $2 ids, $3 destinations, $4 routes, $5 source keys, $6 transfers; $7 ids, $8 destinations and $9 lost of known ones;
-- $10 changes of counts
WITH added AS (
    INSERT INTO @schema.transfers (id, place, state, owner, created_at, updated_at, route, source_key, transfer)
    SELECT i.id, i.place, 0, $1, @schema.ledger_now(), @schema.ledger_now(), i.route, i.source_key, i.transfer
    FROM unnest($2::bytea[], $3::bigint[], $4::text[], $5::bytea[], $6::text[])
        WITH ORDINALITY AS i (id, place, route, source_key, transfer, n)
    ORDER BY i.n
), taken AS (
    UPDATE @schema.transfers AS t SET state = 0, owner = $1, lost = i.lost, due_at = NULL, reason = '', updated_at = @schema.ledger_now()
    FROM unnest($7::bytea[], $8::bigint[], $9::integer[]) AS i (id, place, lost) WHERE t.place = i.place AND t.id = i.id
)
UPDATE @schema.owners SET counts = ARRAY(SELECT a + b FROM unnest(counts, $10::bigint[]) WITH ORDINALITY AS c (a, b, n) ORDER BY n)
WHERE id = $1

-- name: renew
-- $1 owner, $2 lease in ticks; $3 keys, $4 stores, $5 fences
UPDATE @schema.places AS p SET until = greatest(p.until, @schema.ledger_now() + $2)
FROM (
    SELECT p.id FROM @schema.places AS p
    JOIN (SELECT DISTINCT * FROM unnest($3::bytea[], $4::text[], $5::bigint[]) AS i (key, store, fence)) AS i USING (key, store)
    WHERE p.owner = $1 AND p.fence = i.fence ORDER BY p.id FOR UPDATE OF p
) AS held
WHERE p.id = held.id RETURNING p.key, p.store, p.fence

-- name: settle
-- $1 owner; $2 ids, $3 destinations, $4 states, $5 reasons, $6 delays in ticks or NULL, $7 burned, $8 receipts or NULL;
-- $9 places, $10 freed, $11 placements or NULL, $12 their buckets; $13 ids and $14 failures; $15 places and $16 uploads closed;
-- $17 changes of counts
WITH settled AS (
    UPDATE @schema.transfers AS t SET state = i.state, reason = i.reason, due_at = @schema.ledger_now() + i.delay, burned = i.burned,
        receipt = coalesce(i.receipt, t.receipt), updated_at = @schema.ledger_now()
    FROM unnest($2::bytea[], $3::bigint[], $4::smallint[], $5::text[], $6::bigint[], $7::integer[], $8::text[])
        AS i (id, place, state, reason, delay, burned, receipt)
    WHERE t.place = i.place AND t.id = i.id
), placed AS (
    UPDATE @schema.places AS p SET owner = CASE WHEN i.freed THEN 0 ELSE p.owner END, until = CASE WHEN i.freed THEN 0 ELSE p.until END,
        placement = coalesce(i.placement, p.placement),
        bucket = CASE WHEN i.placement IS NULL THEN p.bucket ELSE i.bucket END
    FROM unnest($9::bigint[], $10::boolean[], $11::text[], $12::text[]) AS i (id, freed, placement, bucket) WHERE p.id = i.id
), failed AS (
    INSERT INTO @schema.failures (transfer, failure)
    SELECT i.transfer, i.failure FROM unnest($13::bytea[], $14::text[]) WITH ORDINALITY AS i (transfer, failure, n) ORDER BY i.n
), closed AS (
    DELETE FROM @schema.uploads AS u USING unnest($15::bigint[], $16::text[]) AS i (place, upload)
    WHERE u.place = i.place AND u.upload = i.upload
)
UPDATE @schema.owners SET counts = ARRAY(SELECT a + b FROM unnest(counts, $17::bigint[]) WITH ORDINALITY AS c (a, b, n) ORDER BY n)
WHERE id = $1

-- name: count
-- $1 owner, $2 its name, $3 changes of counts. Enters an owner that is not known, also one that a restored ledger has forgotten
INSERT INTO @schema.owners AS o (id, name, counts) VALUES ($1, $2, $3)
ON CONFLICT (id) DO UPDATE SET counts = ARRAY(
    SELECT a + b FROM unnest(o.counts, excluded.counts) WITH ORDINALITY AS c (a, b, n) ORDER BY n
)

-- name: free
-- $1 owner, $2 places; but for those of $3 stores, $4 keys
UPDATE @schema.places AS p SET owner = 0, until = 0 WHERE p.id = ANY($2::bigint[]) AND p.owner = $1
AND NOT EXISTS (SELECT FROM unnest($3::text[], $4::bytea[]) AS k (store, key) WHERE k.store = p.store AND k.key = p.key)
