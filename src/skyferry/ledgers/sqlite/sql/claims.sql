-- Claims and leases on destinations, and the owners of leases.

-- name: enter
INSERT INTO owners (name, program) VALUES (:name, :program)

-- name: leave
DELETE FROM leases WHERE owner IN (SELECT id FROM owners WHERE name IN (SELECT value FROM json_each(:names)) AND id <> :but)

-- name: forget_workers
DELETE FROM workers WHERE name IN (SELECT value FROM json_each(:names))

-- name: free_roles
DELETE FROM roles WHERE holder IN (SELECT value FROM json_each(:names))

-- name: forget
DELETE FROM owners WHERE name IN (SELECT value FROM json_each(:names)) AND id <> :but

-- name: count_claimed
INSERT OR REPLACE INTO counters (name, value) SELECT 'state 0', count(*) FROM transfers WHERE state = 0

-- name: add_destinations
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
-- key, store, fence. Returns the destinations, NULL for a lost lease
SELECT json_group_array(l.place) FROM (VALUES :rows) AS i
LEFT JOIN places AS p ON p.key = i.column1 AND p.store = i.column2
LEFT JOIN leases AS l ON l.place = p.id AND l.fence = i.column3

-- name: extend
UPDATE leases SET until = max(until, :until) WHERE place IN (SELECT value FROM json_each(:places))
