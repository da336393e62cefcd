-- Statements of the release that knew version 1, as it ran them.

-- name: enter
INSERT INTO owners (name) VALUES (:name)

-- name: last
SELECT json_group_array(value) FROM (SELECT value FROM counters WHERE name IN ('serial', 'place', 'fence') ORDER BY name)

-- name: count
INSERT INTO counters (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value

-- name: look
SELECT json_group_array(json_array(
    t.serial, t.state, t.reason, t.due_at, t.burned, t.lost, t.owner, p.id, l.owner, l.fence, l.until, q.placement
))
FROM (VALUES (?, ?, ?, ?)) AS i
LEFT JOIN places AS p ON p.key = i.column3 AND p.store = i.column4
LEFT JOIN transfers AS t ON t.place = p.id AND t.id_high = i.column1 AND t.id_low = i.column2
LEFT JOIN leases AS l ON l.place = p.id
LEFT JOIN placements AS q ON q.place = p.id

-- name: add_destinations
INSERT INTO places (id, key, store) VALUES (?, ?, ?)

-- name: add_transfers
INSERT INTO transfers (serial, id_high, id_low, place, route, source_key, state, owner, created_at, updated_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: add_details
INSERT INTO details (serial, transfer) VALUES (?, ?)

-- name: lease
INSERT OR REPLACE INTO leases (place, fence, owner, until) VALUES (?, ?, ?, ?)

-- name: settle
UPDATE transfers SET state = i.column2, reason = i.column3, due_at = i.column4, burned = i.column5, updated_at = i.column6
FROM (VALUES (?, ?, ?, ?, ?, ?)) AS i WHERE transfers.serial = i.column1

-- name: add_receipts
INSERT OR REPLACE INTO receipts (serial, receipt) VALUES (?, ?)

-- name: place
INSERT OR REPLACE INTO placements (place, bucket, placement) VALUES (?, ?, ?)

-- name: free
DELETE FROM leases WHERE place IN (SELECT value FROM json_each(:places))
