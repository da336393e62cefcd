-- Queries of transfers and placements.

-- name: placements
-- key, store. Placements are JSON, so they are joined as they are, rather than quoted.
SELECT '[' || group_concat(ifnull(q.placement, 'null')) || ']' FROM (VALUES :rows) AS i
LEFT JOIN places AS p ON p.key = i.column1 AND p.store = i.column2
LEFT JOIN placements AS q ON q.place = p.id

-- name: placed
-- Read one page of the keys of a store, and from it the placements copied from the bucket. The work is bounded by the page
-- even if no placement matches.
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

-- name: ids
-- Between two ids, in each block
WITH RECURSIVE parts (n) AS (
    SELECT max(serial) >> 15 FROM transfers
    UNION ALL SELECT n - 1 FROM parts WHERE n > (SELECT min(serial) >> 15 FROM transfers)
)
SELECT t.id_high, t.id_low FROM parts CROSS JOIN transfers AS t INDEXED BY transfers_by_id
WHERE t.serial >> 15 = n AND t.id_high BETWEEN :high AND :last_high AND t.id_low BETWEEN :low AND :last_low LIMIT :limit

-- name: few
-- Count the keys with this prefix, but no further than the limit
SELECT count(*) FROM (SELECT 1 FROM places WHERE key >= :low AND key < :high LIMIT :limit)

-- name: counts
-- Claimed transfers (state 0) are few
SELECT json_group_array(json_array(state, count)) FROM (
    SELECT substr(name, 7) AS state, value AS count FROM counters WHERE name LIKE 'state %' AND name <> 'state 0'
    UNION ALL SELECT '0', count(*) FROM transfers WHERE state = 0
)

-- name: oldest_unsettled
-- By route, the transfer that has been known the longest
SELECT json_group_object(o.route, json_extract(d.transfer, '$[9]')) FROM (
    SELECT route, min(serial) AS serial FROM transfers WHERE state IN (0, 1) GROUP BY route
) AS o JOIN details AS d ON d.serial = o.serial

-- name: failures
SELECT json_group_array(json_array(serial, failure)) FROM (
    SELECT f.serial, f.failure FROM json_each(:serials) AS i JOIN failures AS f ON f.serial = i.value ORDER BY f.id
)
