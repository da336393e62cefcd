-- Workers and roles. Times are in ticks.

-- name: record
INSERT OR REPLACE INTO workers (name, at, until, state, heartbeat) VALUES (:owner, :now, :until, :state, :heartbeat)

-- name: forget_workers
DELETE FROM workers WHERE until <= :now

-- name: free_roles
-- Those that this worker does not want, and those whose lease has ended
DELETE FROM roles WHERE CASE WHEN holder = :owner THEN name NOT IN (SELECT value FROM json_each(:wanted)) ELSE until <= :now END

-- name: take_roles
INSERT INTO roles (name, holder, since, until) SELECT value, :owner, :now, :until FROM json_each(:wanted) WHERE true
ON CONFLICT (name) DO UPDATE SET until = excluded.until, since = CASE WHEN roles.until > :now THEN roles.since ELSE :now END
WHERE roles.holder = excluded.holder

-- name: roles_of
SELECT json_group_array(name) FROM (SELECT name FROM roles WHERE holder = :owner ORDER BY name)

-- name: list_workers
SELECT json_group_array(json_array(name, heartbeat, at, json(roles))) FROM (
    SELECT name, heartbeat, at, (
        SELECT json_group_array(json_array(role, age)) FROM (
            SELECT roles.name AS role, :now - since AS age FROM roles
            WHERE holder = workers.name AND roles.until > :now ORDER BY roles.name
        )
    ) AS roles FROM workers WHERE until > :now AND name > :after ORDER BY name LIMIT :limit
)

-- name: count_workers
SELECT json_group_object(state, count) FROM (SELECT state, count(*) AS count FROM workers WHERE until > :now GROUP BY state)
