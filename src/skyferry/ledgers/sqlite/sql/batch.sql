-- The records of a batch, numbers, and counts.
-- `VALUES :rows` expands to the rows of a batch, so that a batch takes a handful of statements. Results come back as one JSON
-- array: stepping through rows would pass the interpreter lock back and forth for each.
-- The table `places` has the destinations.

-- name: look
-- id_high, id_low, key, store
SELECT json_group_array(json_array(
    t.serial, t.state, t.reason, t.due_at, t.burned, t.lost, t.owner, p.id, l.owner, l.fence, l.until, q.placement
))
FROM (VALUES :rows) AS i
LEFT JOIN places AS p ON p.key = i.column3 AND p.store = i.column4
LEFT JOIN transfers AS t ON t.place = p.id AND t.id_high = i.column1 AND t.id_low = i.column2
LEFT JOIN leases AS l ON l.place = p.id
LEFT JOIN placements AS q ON q.place = p.id

-- name: newest_fence
-- The last one that any process has reserved
SELECT value FROM counters WHERE name = 'fence'

-- name: reserve
UPDATE counters SET value = value + :block WHERE name = :name RETURNING value

-- name: count
INSERT INTO counters (name, value) VALUES :rows ON CONFLICT (name) DO UPDATE SET value = value + excluded.value
