-- Events that no route takes.

-- name: add
INSERT OR REPLACE INTO refusals (key, bucket, at, refusal) VALUES :rows

-- name: list
SELECT json_group_array(refusal) FROM (SELECT refusal FROM refusals WHERE key = :key ORDER BY at DESC, bucket)

-- name: prune
DELETE FROM refusals WHERE (key, bucket) IN (SELECT key, bucket FROM refusals WHERE at < :before ORDER BY at LIMIT :limit)
