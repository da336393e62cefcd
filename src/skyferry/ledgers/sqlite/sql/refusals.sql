-- Events that no route takes, and letters of buckets that no store is.

-- name: refuse
INSERT OR REPLACE INTO refusals (key, bucket, at, refusal) VALUES :rows

-- name: refusals
SELECT json_group_array(refusal) FROM (SELECT refusal FROM refusals WHERE key = :key ORDER BY at DESC, bucket)

-- name: prune
DELETE FROM refusals WHERE (key, bucket) IN (SELECT key, bucket FROM refusals WHERE at < :before ORDER BY at LIMIT :limit)

-- name: unrouted
SELECT bucket, count(*) AS n FROM letters WHERE bucket IS NOT NULL GROUP BY bucket ORDER BY n DESC, bucket LIMIT :limit

-- name: add_bucket
-- To a file from before letters had it
ALTER TABLE letters ADD COLUMN bucket TEXT

-- name: letters_by_bucket
CREATE INDEX IF NOT EXISTS letters_by_bucket ON letters (bucket) WHERE bucket IS NOT NULL
