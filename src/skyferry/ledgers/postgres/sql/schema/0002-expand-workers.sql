-- Workers and roles: those whose `until` is not over. Names are compared by their bytes.
CREATE TABLE IF NOT EXISTS @schema.workers (
    name text COLLATE "C" PRIMARY KEY,      -- owners.name
    at bigint NOT NULL,                     -- of the last heartbeat
    until bigint NOT NULL,
    state text NOT NULL,
    heartbeat text NOT NULL
) WITH (fillfactor = 50);
CREATE TABLE IF NOT EXISTS @schema.roles (
    name text COLLATE "C" PRIMARY KEY,
    holder text NOT NULL,                   -- owners.name
    since bigint NOT NULL,
    until bigint NOT NULL
) WITH (fillfactor = 50);
