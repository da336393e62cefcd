-- Open uploads. There are few: large objects under way, those that wait for a retry, and abandoned ones.

-- name: save
-- $1 places, $2 uploads, $3 progress
INSERT INTO @schema.uploads (place, upload, saved_at, progress)
SELECT i.place, i.upload, @schema.ledger_now(), i.progress FROM unnest($1::bigint[], $2::text[], $3::text[]) AS i (place, upload, progress)
ON CONFLICT (place, upload) DO UPDATE SET saved_at = excluded.saved_at, progress = excluded.progress

-- name: save_parts
-- $1 places, $2 uploads, $3 numbers, $4 parts
INSERT INTO @schema.parts (upload, number, part)
SELECT u.serial, i.number, i.part FROM unnest($1::bigint[], $2::text[], $3::integer[], $4::text[]) AS i (place, upload, number, part)
JOIN @schema.uploads AS u ON u.place = i.place AND u.upload = i.upload
ON CONFLICT (upload, number) DO UPDATE SET part = excluded.part

-- name: of_places
SELECT u.place, u.progress, @schema.ledger_now() - u.saved_at,
    ARRAY(SELECT part FROM @schema.parts WHERE upload = u.serial ORDER BY number)
FROM @schema.uploads AS u WHERE u.place = ANY($1::bigint[]) ORDER BY u.serial

-- name: page
-- $1 and $2: time and serial of the last one; $3 limit
SELECT u.serial, u.saved_at, p.store, p.key, u.progress, @schema.ledger_now() - u.saved_at
FROM @schema.uploads AS u JOIN @schema.places AS p ON p.id = u.place
WHERE (u.saved_at, u.serial) > ($1, $2) ORDER BY u.saved_at, u.serial LIMIT $3

-- name: close
-- $1 store, $2 ids
DELETE FROM @schema.uploads WHERE upload = ANY($2::text[]) AND place IN (SELECT id FROM @schema.places WHERE store = $1 AND id = uploads.place)
