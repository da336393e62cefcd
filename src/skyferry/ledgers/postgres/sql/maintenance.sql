-- Checks from outside.

-- name: inconsistent
SELECT 'transfers without their destination', count(*) FROM @schema.transfers AS t
WHERE NOT EXISTS (SELECT FROM @schema.places WHERE id = t.place)
UNION ALL
SELECT 'uploads without their destination', count(*) FROM @schema.uploads AS u
WHERE NOT EXISTS (SELECT FROM @schema.places WHERE id = u.place)
UNION ALL
SELECT 'dead transfers without their letter', count(*) FROM @schema.transfers AS t
WHERE t.state = 4 AND NOT EXISTS (SELECT FROM @schema.letters WHERE transfer = t.id)
UNION ALL
SELECT 'states with a wrong count', count(*) FROM (
    SELECT n - 1 AS state, sum(c) AS counted FROM @schema.owners, unnest(counts) WITH ORDINALITY AS u (c, n) GROUP BY n
) AS counted LEFT JOIN (SELECT state, count(*) AS found FROM @schema.transfers GROUP BY state) AS found USING (state)
WHERE counted IS DISTINCT FROM coalesce(found, 0)
