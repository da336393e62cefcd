-- Claims and settles. Batches go in as one JSON array of arrays and come out as one, so that a batch of any size is a
-- handful of statements.

-- name: enter
INSERT INTO owners (name) VALUES (:name)

-- name: leave
DELETE FROM leases WHERE owner IN (SELECT id FROM owners WHERE name IN (SELECT value FROM json_each(:names)) AND id <> :but)

-- name: forget
DELETE FROM owners WHERE name IN (SELECT value FROM json_each(:names)) AND id <> :but

-- name: touch
UPDATE owners SET name = name WHERE id = :me

-- name: look
-- [id_high, id_low, key, store] each
SELECT
    json_group_array(json_array(
        t.serial, t.state, t.reason, t.due_at, t.burned, t.lost, t.owner, p.id, l.owner, l.fence, l.until, q.placement
    )),
    (SELECT value FROM counters WHERE name = 'serial'),
    (SELECT value FROM counters WHERE name = 'place'),
    (SELECT value FROM counters WHERE name = 'fence')
FROM json_each(:batch) AS i
LEFT JOIN transfers AS t ON t.id_high = json_extract(i.value, '$[0]') AND t.id_low = json_extract(i.value, '$[1]')
LEFT JOIN places AS p ON p.key = json_extract(i.value, '$[2]') AND p.store = json_extract(i.value, '$[3]')
LEFT JOIN leases AS l ON l.place = p.id
LEFT JOIN placements AS q ON q.place = p.id

-- name: count
-- [name, delta] each
INSERT INTO counters (name, value) SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:batch) WHERE true
ON CONFLICT (name) DO UPDATE SET value = value + excluded.value

-- name: add_places
-- [id, key, store] each
INSERT INTO places (id, key, store)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]') FROM json_each(:batch)

-- name: add_transfers
-- [serial, id_high, id_low, place, route, source_key] each
INSERT INTO transfers (serial, id_high, id_low, place, route, source_key, state, owner, created_at, updated_at)
SELECT
    json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'), json_extract(value, '$[3]'),
    json_extract(value, '$[4]'), json_extract(value, '$[5]'), 0, :owner, :now, :now
FROM json_each(:batch)

-- name: add_details
-- [serial, transfer] each
INSERT INTO details (serial, transfer) SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:batch)

-- name: take_transfers
-- [serial, lost] each
UPDATE transfers SET state = 0, owner = :owner, lost = json_extract(i.value, '$[1]'), updated_at = :now, due_at = NULL, reason = ''
FROM json_each(:batch) AS i WHERE transfers.serial = json_extract(i.value, '$[0]')

-- name: lease
-- [place, fence] each
INSERT OR REPLACE INTO leases (place, owner, fence, until)
SELECT json_extract(value, '$[0]'), :owner, json_extract(value, '$[1]'), :until FROM json_each(:batch)

-- name: held
-- [key, store, fence] each; gives the places, NULL where the lease was lost
SELECT json_group_array(l.place) FROM json_each(:batch) AS i
LEFT JOIN places AS p ON p.key = json_extract(i.value, '$[0]') AND p.store = json_extract(i.value, '$[1]')
LEFT JOIN leases AS l ON l.place = p.id AND l.fence = json_extract(i.value, '$[2]')

-- name: extend
UPDATE leases SET until = max(until, :until) WHERE place IN (SELECT value FROM json_each(:batch))

-- name: free
DELETE FROM leases WHERE place IN (SELECT value FROM json_each(:batch))

-- name: settle
-- [serial, state, reason, due_at, burned] each
UPDATE transfers SET
    state = json_extract(i.value, '$[1]'), reason = json_extract(i.value, '$[2]'), due_at = json_extract(i.value, '$[3]'),
    burned = json_extract(i.value, '$[4]'), updated_at = :now
FROM json_each(:batch) AS i WHERE transfers.serial = json_extract(i.value, '$[0]')

-- name: add_receipts
-- [serial, receipt] each
INSERT OR REPLACE INTO receipts (serial, receipt)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:batch)

-- name: place
-- [place, bucket, placement] each
INSERT OR REPLACE INTO placements (place, bucket, placement)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]') FROM json_each(:batch)

-- name: add_failures
-- [serial, failure] each
INSERT INTO failures (serial, failure)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:batch)

-- name: failures
-- serials in; [serial, failure] each out
SELECT json_group_array(json_array(serial, failure)) FROM (
    SELECT f.serial, f.failure FROM json_each(:batch) AS i JOIN failures AS f ON f.serial = i.value ORDER BY f.id
)

-- name: drop_redriven
DELETE FROM letters WHERE redriven_at IS NOT NULL AND id IN (SELECT value FROM json_each(:ids))

-- name: add_letters
-- [id, transfer, at, route, reason, key, source_key, letter] each
INSERT OR IGNORE INTO letters (id, transfer, at, route, reason, key, source_key, letter)
SELECT
    json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'), json_extract(value, '$[3]'),
    json_extract(value, '$[4]'), json_extract(value, '$[5]'), json_extract(value, '$[6]'), json_extract(value, '$[7]')
FROM json_each(:batch)
