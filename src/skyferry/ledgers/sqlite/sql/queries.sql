-- Listings, dead letters and housekeeping.

-- name: placements
-- key, store
SELECT json_group_array(q.placement) FROM (VALUES :rows) AS i
LEFT JOIN places AS p ON p.key = i.column1 AND p.store = i.column2
LEFT JOIN placements AS q ON q.place = p.id

-- name: placed
-- A page of keys of the store, and of those what came from the bucket: bounded work, however few there are
SELECT max(page.key), count(*), json_group_array(json_array(page.key, q.placement)) FILTER (WHERE q.bucket = :bucket)
FROM (SELECT id, key FROM places WHERE key > :after AND store = :store ORDER BY key LIMIT :limit) AS page
LEFT JOIN placements AS q ON q.place = page.id

-- name: transfers
SELECT json_group_array(json_array(
    d.transfer, t.state, t.reason, t.burned, t.lost, t.created_at, t.updated_at, t.due_at, r.receipt
))
FROM json_each(:batch) AS i JOIN transfers AS t ON t.serial = i.value JOIN details AS d ON d.serial = t.serial
LEFT JOIN receipts AS r ON r.serial = t.serial

-- name: serial
WITH RECURSIVE parts (n) AS (
    SELECT max(serial) >> 15 FROM transfers
    UNION ALL SELECT n - 1 FROM parts WHERE n > (SELECT min(serial) >> 15 FROM transfers)
)
SELECT t.serial FROM parts CROSS JOIN transfers AS t INDEXED BY transfers_by_id
WHERE t.serial >> 15 = n AND t.id_high = :high AND t.id_low = :low LIMIT 1

-- name: few
-- How many keys have this prefix, counting no further than needed
SELECT count(*) FROM (SELECT 1 FROM places WHERE key >= :low AND key < :high LIMIT :limit)

-- name: letter
SELECT letter, redriven_at FROM letters WHERE id = :id

-- name: causes
SELECT route, reason, count(*) AS n FROM letters GROUP BY route, reason ORDER BY n DESC, route, reason

-- name: ready
SELECT json_group_array(json_array(serial, letter, redriven_at)) FROM (
    SELECT serial, letter, redriven_at FROM letters
    WHERE redriven_at IS NOT NULL AND hidden_until <= :now ORDER BY hidden_until, serial LIMIT :limit
)

-- name: redriven
SELECT count(*) FROM letters WHERE redriven_at IS NOT NULL AND hidden_until > -1

-- name: hide
UPDATE letters SET hidden_until = :until WHERE serial IN (SELECT value FROM json_each(:batch))

-- name: finish
-- id, at
DELETE FROM letters WHERE redriven_at IS NOT NULL AND (id, at) IN (VALUES :rows)

-- name: again
-- id, at, when again
UPDATE letters SET hidden_until = i.column3 FROM (VALUES :rows) AS i
WHERE letters.id = i.column1 AND letters.at = i.column2 AND letters.redriven_at IS NOT NULL

-- name: add_publish_at
-- To a file from before letters were published
ALTER TABLE letters ADD COLUMN publish_at INTEGER DEFAULT 0

-- name: letters_unpublished
CREATE INDEX IF NOT EXISTS letters_unpublished ON letters (publish_at)
WHERE publish_at IS NOT NULL AND redriven_at IS NULL

-- name: unpublished
SELECT json_group_array(json_array(serial, letter)) FROM (
    SELECT serial, letter FROM letters
    WHERE publish_at <= :now AND publish_at IS NOT NULL AND redriven_at IS NULL ORDER BY publish_at, serial LIMIT :limit
)

-- name: publishing
UPDATE letters SET publish_at = :until WHERE serial IN (SELECT value FROM json_each(:batch))

-- name: published
-- id, at, when again
UPDATE letters SET publish_at = i.column3 FROM (VALUES :rows) AS i
WHERE letters.id = i.column1 AND letters.at = i.column2 AND letters.publish_at IS NOT NULL

-- name: counts
SELECT json_group_array(json_array(substr(name, 7), value)) FROM counters WHERE name LIKE 'state %'

-- name: oldest_unsettled
-- Of each route, the transfer that is known the longest.
SELECT json_group_object(o.route, json_extract(d.transfer, '$[9]')) FROM (
    SELECT route, min(serial) AS serial FROM transfers WHERE state IN (0, 1) GROUP BY route
) AS o JOIN details AS d ON d.serial = o.serial

-- name: settled_before
SELECT json_group_array(serial), json_group_array(state) FROM (
    SELECT serial, state FROM (
        SELECT * FROM (SELECT serial, state, updated_at FROM transfers
                       WHERE state = 2 AND updated_at < :before ORDER BY updated_at, serial LIMIT :limit)
        UNION ALL
        SELECT * FROM (SELECT serial, state, updated_at FROM transfers
                       WHERE state = 3 AND updated_at < :before ORDER BY updated_at, serial LIMIT :limit)
        UNION ALL
        SELECT * FROM (SELECT serial, state, updated_at FROM transfers
                       WHERE state = 5 AND updated_at < :before ORDER BY updated_at, serial LIMIT :limit)
    ) ORDER BY updated_at, serial LIMIT :limit
)

-- name: prune_transfers
DELETE FROM transfers WHERE serial IN (SELECT value FROM json_each(:batch))

-- name: prune_details
DELETE FROM details WHERE serial IN (SELECT value FROM json_each(:batch))

-- name: prune_receipts
DELETE FROM receipts WHERE serial IN (SELECT value FROM json_each(:batch))

-- name: prune_failures
DELETE FROM failures WHERE serial IN (SELECT value FROM json_each(:batch))

-- name: places_of
SELECT json_group_array(DISTINCT place) FROM transfers WHERE serial IN (SELECT value FROM json_each(:batch))

-- name: prune_places
-- Keys that never held anything, and that nothing is about any more. Every table that names places.id has to be asked here.
DELETE FROM places WHERE id IN (SELECT value FROM json_each(:places))
AND NOT EXISTS (SELECT 1 FROM placements WHERE place = places.id)
AND NOT EXISTS (SELECT 1 FROM transfers WHERE place = places.id)
AND NOT EXISTS (SELECT 1 FROM leases WHERE place = places.id)
AND NOT EXISTS (SELECT 1 FROM uploads WHERE place = places.id)
