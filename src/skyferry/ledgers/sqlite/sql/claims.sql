-- Claims and settles. `VALUES :rows` stands for as many rows as there are, so that a batch is a handful of statements; what
-- is asked comes out as one JSON array. Stepping through rows would hand the interpreter lock to and fro for each.

-- name: enter
INSERT INTO owners (name) VALUES (:name)

-- name: leave
DELETE FROM leases WHERE owner IN (SELECT id FROM owners WHERE name IN (SELECT value FROM json_each(:names)) AND id <> :but)

-- name: forget
DELETE FROM owners WHERE name IN (SELECT value FROM json_each(:names)) AND id <> :but

-- name: touch
-- A value that stays as it is would not be written.
INSERT INTO counters (name, value) VALUES ('touched', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1

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

-- name: last
SELECT json_group_array(value) FROM (SELECT value FROM counters WHERE name IN ('serial', 'place', 'fence') ORDER BY name)

-- name: count
INSERT INTO counters (name, value) VALUES :rows ON CONFLICT (name) DO UPDATE SET value = value + excluded.value

-- name: add_places
INSERT INTO places (id, key, store) VALUES :rows

-- name: add_transfers
INSERT INTO transfers (serial, id_high, id_low, place, route, source_key, state, owner, created_at, updated_at) VALUES :rows

-- name: add_details
INSERT INTO details (serial, transfer) VALUES :rows

-- name: take_transfers
-- serial, lost, owner, now
UPDATE transfers SET state = 0, lost = i.column2, owner = i.column3, updated_at = i.column4, due_at = NULL, reason = ''
FROM (VALUES :rows) AS i WHERE transfers.serial = i.column1

-- name: lease
INSERT OR REPLACE INTO leases (place, fence, owner, until) VALUES :rows

-- name: held
-- key, store, fence; gives the places, NULL where the lease was lost
SELECT json_group_array(l.place) FROM (VALUES :rows) AS i
LEFT JOIN places AS p ON p.key = i.column1 AND p.store = i.column2
LEFT JOIN leases AS l ON l.place = p.id AND l.fence = i.column3

-- name: extend
UPDATE leases SET until = max(until, :until) WHERE place IN (SELECT value FROM json_each(:places))

-- name: free
DELETE FROM leases WHERE place IN (SELECT value FROM json_each(:places))

-- name: settle
-- serial, state, reason, due_at, burned, now
UPDATE transfers SET state = i.column2, reason = i.column3, due_at = i.column4, burned = i.column5, updated_at = i.column6
FROM (VALUES :rows) AS i WHERE transfers.serial = i.column1

-- name: add_receipts
INSERT OR REPLACE INTO receipts (serial, receipt) VALUES :rows

-- name: place
INSERT OR REPLACE INTO placements (place, bucket, placement) VALUES :rows

-- name: add_failures
INSERT INTO failures (serial, failure) VALUES :rows

-- name: failures
SELECT json_group_array(json_array(serial, failure)) FROM (
    SELECT f.serial, f.failure FROM json_each(:serials) AS i JOIN failures AS f ON f.serial = i.value ORDER BY f.id
)

-- name: drop_redriven
DELETE FROM letters WHERE redriven_at IS NOT NULL AND id IN (SELECT value FROM json_each(:ids))

-- name: add_letters
INSERT OR IGNORE INTO letters (id, transfer, at, route, reason, key, source_key, letter, bucket) VALUES :rows
