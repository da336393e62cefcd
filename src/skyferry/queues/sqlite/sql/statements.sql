-- The statements of the SQLite queue. Each handles a whole batch in one step: JSON in, JSON out.
-- SQLite uses a partial index only if its condition is repeated literally, hence `state > 0 AND state = 1`.

-- name: reserve
-- Numbers for :count new messages
UPDATE counter SET next = next + :count, total = total + :count RETURNING next - :count

-- name: insert
-- :messages are [[body, hex, attributes, priority, head start, delay, dedup id if there is one], ...]
INSERT INTO message (seq, body, hex, attributes, priority, dedup_id, enqueued_at, rank, state, until)
SELECT :first + key, value ->> 0, value ->> 1, value -> 2, value ->> 3, value -> 6,
    :now, :now - (value ->> 4), iif(value ->> 5 > 0, 2, 0), :now + (value ->> 5)
FROM json_each(:messages)
WHERE true
ON CONFLICT (dedup_id) WHERE dedup_id IS NOT NULL DO NOTHING

-- name: ids
-- Ids of the messages sent, in order; a repeated dedup id gives the first
SELECT json_group_array(coalesce((SELECT seq FROM message WHERE dedup_id = value -> 6), :first + key))
FROM json_each(:messages)

-- name: count
-- Correct the number of messages present
UPDATE counter SET total = total + :change

-- name: free
-- End the leases of :owners
UPDATE message SET state = 0, owner = NULL
WHERE state > 0 AND state = 1 AND owner IN (SELECT value FROM json_each(:owners))

-- name: promote
-- Make ready the messages whose time has come, a bounded number at a time
UPDATE message SET state = 0
WHERE seq IN (SELECT seq FROM message WHERE state > 0 AND state IN (1, 2) AND until <= :now LIMIT 1000)

-- name: take
-- Read the first :limit ready messages, as they will be after `lease`
SELECT json_group_array(json_array(seq, attempt + 1, body, hex, enqueued_at, json(attributes), priority))
FROM (SELECT * FROM message WHERE state = 0 ORDER BY rank, seq LIMIT :limit)

-- name: lease
-- Lease the same messages
UPDATE message SET state = 1, until = :until, owner = :owner, attempt = attempt + 1
WHERE seq IN (SELECT seq FROM message WHERE state = 0 ORDER BY rank, seq LIMIT :limit)

-- name: due
-- The time when the next hidden message becomes ready
SELECT min(until) FROM (
    SELECT * FROM (SELECT until FROM message WHERE state > 0 AND state = 1 ORDER BY until LIMIT 1)
    UNION ALL
    SELECT * FROM (SELECT until FROM message WHERE state > 0 AND state = 2 ORDER BY until LIMIT 1)
)

-- name: held
-- The valid ones of :receipts, [[seq, attempt], ...]
SELECT json_group_array(json_array(message.seq, message.attempt))
FROM json_each(:receipts) AS receipt
CROSS JOIN message ON message.seq = receipt.value ->> 0
WHERE message.attempt = receipt.value ->> 1 AND message.owner IS NOT NULL

-- name: extend
UPDATE message SET state = 1, until = :until WHERE seq IN (SELECT value ->> 0 FROM json_each(:held))

-- name: release
UPDATE message SET state = iif(:delay > 0, 2, 0), until = :now + :delay, owner = NULL
WHERE seq IN (SELECT value ->> 0 FROM json_each(:held))

-- name: remove
DELETE FROM message WHERE seq IN (SELECT value ->> 0 FROM json_each(:held))

-- name: depth
-- Present, leased, delayed, and when the oldest was sent
SELECT
    (SELECT total FROM counter),
    (SELECT count(*) FROM message WHERE state > 0 AND state = 1 AND until > :now),
    (SELECT count(*) FROM message WHERE state > 0 AND state = 2 AND until > :now),
    (SELECT enqueued_at FROM message ORDER BY seq LIMIT 1)
