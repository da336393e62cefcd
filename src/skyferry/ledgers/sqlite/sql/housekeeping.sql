-- Pruning.

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

-- name: destinations_of
SELECT json_group_array(DISTINCT place) FROM transfers WHERE serial IN (SELECT value FROM json_each(:batch))

-- name: prune_transfers
DELETE FROM transfers WHERE serial IN (SELECT value FROM json_each(:batch))

-- name: prune_details
DELETE FROM details WHERE serial IN (SELECT value FROM json_each(:batch))

-- name: prune_receipts
DELETE FROM receipts WHERE serial IN (SELECT value FROM json_each(:batch))

-- name: prune_failures
DELETE FROM failures WHERE serial IN (SELECT value FROM json_each(:batch))

-- name: prune_destinations
-- Delete destinations that have no placement and no transfer. Every table that refers to places.id MUST be checked here.
DELETE FROM places WHERE id IN (SELECT value FROM json_each(:places))
AND NOT EXISTS (SELECT 1 FROM placements WHERE place = places.id)
AND NOT EXISTS (SELECT 1 FROM transfers WHERE place = places.id)
AND NOT EXISTS (SELECT 1 FROM leases WHERE place = places.id)
AND NOT EXISTS (SELECT 1 FROM uploads WHERE place = places.id)
