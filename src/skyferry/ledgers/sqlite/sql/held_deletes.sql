-- Deletes that wait for a decision, and what sources are. Few, as a rule: no hot statement touches them.

-- name: schema
CREATE TABLE IF NOT EXISTS held_deletes (
    serial INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,                -- of the object, see HeldDelete.id
    state TEXT NOT NULL,                    -- held, approved, rejected
    store TEXT NOT NULL,
    reason TEXT NOT NULL,
    at INTEGER NOT NULL,
    decided_at INTEGER,
    provider TEXT NOT NULL,
    bucket TEXT NOT NULL,
    key TEXT NOT NULL,
    routes TEXT NOT NULL                    -- a JSON array of names
);
CREATE INDEX IF NOT EXISTS held_deletes_by_state ON held_deletes (state, store, reason);
CREATE TABLE IF NOT EXISTS identities (source TEXT PRIMARY KEY, identity TEXT NOT NULL) WITHOUT ROWID;

-- name: identity
SELECT identity FROM identities WHERE source = :source

-- name: identify
INSERT OR REPLACE INTO identities (source, identity) VALUES (:source, :identity)

-- name: hold
-- id, state, store, reason, at, provider, bucket, key, routes
INSERT OR IGNORE INTO held_deletes (id, state, store, reason, at, provider, bucket, key, routes) VALUES :rows

-- name: size
SELECT count(*) FROM held_deletes

-- name: counts
SELECT store, reason, count(*) FROM held_deletes WHERE state = 'held' GROUP BY store, reason ORDER BY store, reason

-- name: known
SELECT json_group_array(id) FROM held_deletes WHERE id IN (SELECT value FROM json_each(:ids))

-- name: approved
SELECT json_group_array(json_array(serial, state, store, reason, at, decided_at, provider, bucket, key, json(routes))) FROM (
    SELECT * FROM held_deletes WHERE state = 'approved' ORDER BY serial LIMIT :limit
)

-- name: page
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
