-- Deletes that wait for a decision, and identities of sources. There are few of either, and no hot statement touches them.

-- name: get_identity
SELECT identity FROM identities WHERE source = :source

-- name: set_identity
INSERT OR REPLACE INTO identities (source, identity) VALUES (:source, :identity)

-- name: hold
-- id, state, store, reason, at, provider, bucket, key, routes
INSERT OR IGNORE INTO held_deletes (id, state, store, reason, at, provider, bucket, key, routes) VALUES :rows

-- name: size
SELECT count(*) FROM held_deletes

-- name: count
SELECT store, reason, count(*) FROM held_deletes WHERE state = 'held' GROUP BY store, reason ORDER BY store, reason

-- name: find
SELECT json_group_array(id) FROM held_deletes WHERE id IN (SELECT value FROM json_each(:ids))

-- name: list_approved
SELECT json_group_array(json_array(serial, state, store, reason, at, decided_at, provider, bucket, key, json(routes))) FROM (
    SELECT * FROM held_deletes WHERE state = 'approved' ORDER BY serial LIMIT :limit
)

-- name: list
SELECT json_group_array(json_array(serial, state, store, reason, at, decided_at, provider, bucket, key, json(routes))) FROM (
    SELECT * FROM held_deletes WHERE serial < :before AND :chosen ORDER BY serial DESC LIMIT :limit
)

-- name: forget_identities
DELETE FROM identities WHERE source IN (
    SELECT provider || '://' || bucket FROM held_deletes WHERE reason = 'replaced' AND state IN (SELECT value FROM json_each(:from)) AND :chosen
)

-- name: decide
UPDATE held_deletes SET state = :to, decided_at = :now WHERE state IN (SELECT value FROM json_each(:from)) AND :chosen

-- name: forget
DELETE FROM held_deletes WHERE id IN (SELECT value FROM json_each(:ids))
