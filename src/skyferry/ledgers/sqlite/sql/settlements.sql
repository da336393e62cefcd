-- Settlements.

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

-- name: free
DELETE FROM leases WHERE place IN (SELECT value FROM json_each(:places))
