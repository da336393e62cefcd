-- Dead letters. `hidden_until` is the end of a lease to redrive, `publish_at` that of a lease to publish.

-- name: add
INSERT OR IGNORE INTO letters (id, transfer, at, route, reason, key, source_key, letter, bucket) VALUES :rows

-- name: drop_redriven
DELETE FROM letters WHERE redriven_at IS NOT NULL AND id IN (SELECT value FROM json_each(:ids))

-- name: get
SELECT letter, redriven_at FROM letters WHERE id = :id

-- name: count
-- By route and reason
SELECT route, reason, count(*) AS n FROM letters GROUP BY route, reason ORDER BY n DESC, route, reason

-- name: count_unrouted
SELECT bucket, count(*) AS n FROM letters WHERE bucket IS NOT NULL GROUP BY bucket ORDER BY n DESC, bucket LIMIT :limit

-- name: count_redriven
SELECT count(*) FROM letters WHERE redriven_at IS NOT NULL AND hidden_until > -1

-- name: find_redriven
-- 1 if a letter is to be processed again, leased or not
SELECT 1 FROM letters WHERE redriven_at IS NOT NULL AND hidden_until > -1 LIMIT 1

-- name: find_redrive
-- Letters to redrive that are due and not leased
SELECT json_group_array(json_array(serial, letter, redriven_at)) FROM (
    SELECT serial, letter, redriven_at FROM letters
    WHERE redriven_at IS NOT NULL AND hidden_until <= :now ORDER BY hidden_until, serial LIMIT :limit
)

-- name: lease_redrive
UPDATE letters SET hidden_until = :until WHERE serial IN (SELECT value FROM json_each(:batch))

-- name: finish_redrive
-- id, at
DELETE FROM letters WHERE redriven_at IS NOT NULL AND (id, at) IN (VALUES :rows)

-- name: reschedule_redrive
-- id, at, end of the lease
UPDATE letters SET hidden_until = i.column3 FROM (VALUES :rows) AS i
WHERE letters.id = i.column1 AND letters.at = i.column2 AND letters.redriven_at IS NOT NULL

-- name: find_publish
-- Letters to publish that are due and not leased
SELECT json_group_array(json_array(serial, letter, redriven_at)) FROM (
    SELECT serial, letter, redriven_at FROM letters
    WHERE publish_at <= :now AND publish_at IS NOT NULL AND redriven_at IS NULL ORDER BY publish_at, serial LIMIT :limit
)

-- name: lease_publish
UPDATE letters SET publish_at = :until WHERE serial IN (SELECT value FROM json_each(:batch))

-- name: finish_publish
-- id, at
UPDATE letters SET publish_at = NULL FROM (VALUES :rows) AS i WHERE letters.id = i.column1 AND letters.at = i.column2

-- name: reschedule_publish
-- id, at, end of the lease
UPDATE letters SET publish_at = i.column3 FROM (VALUES :rows) AS i
WHERE letters.id = i.column1 AND letters.at = i.column2 AND letters.publish_at IS NOT NULL
