-- Open uploads. There are few: large objects under way, those that wait for a retry, and abandoned ones.

-- name: save_uploads
INSERT INTO uploads (place, upload, saved_at, progress) VALUES :rows
ON CONFLICT (place, upload) DO UPDATE SET saved_at = excluded.saved_at, progress = excluded.progress

-- name: save_parts
-- place, upload, number, part
INSERT OR REPLACE INTO parts (upload, number, part)
SELECT u.serial, i.column3, i.column4 FROM (VALUES :rows) AS i
JOIN uploads AS u ON u.place = i.column1 AND u.upload = i.column2

-- name: of_destinations
SELECT json_group_array(json_array(u.place, u.store, u.key, u.saved_at, u.progress, json((
    SELECT json_group_array(part) FROM (SELECT part FROM parts WHERE upload = u.serial ORDER BY number)
))))
FROM (
    SELECT uploads.*, places.store, places.key FROM uploads JOIN places ON places.id = uploads.place
    WHERE uploads.place IN (SELECT value FROM json_each(:places)) ORDER BY uploads.serial
) AS u

-- name: page
SELECT json_group_array(json_array(serial, store, key, saved_at, progress)) FROM (
    SELECT u.serial, p.store, p.key, u.saved_at, u.progress FROM uploads AS u JOIN places AS p ON p.id = u.place
    WHERE (u.saved_at, u.serial) > (:at, :serial) ORDER BY u.saved_at, u.serial LIMIT :limit
)

-- name: close
DELETE FROM uploads WHERE upload IN (SELECT value FROM json_each(:ids))
AND place IN (SELECT id FROM places WHERE store = :store)

-- name: close_of_destinations
-- place, upload
DELETE FROM uploads WHERE (place, upload) IN (VALUES :rows)
