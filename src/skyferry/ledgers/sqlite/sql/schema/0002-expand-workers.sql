-- Workers and roles: those whose `until` is not over.
CREATE TABLE IF NOT EXISTS workers (
    name TEXT PRIMARY KEY,                  -- owners.name
    at INTEGER NOT NULL,                    -- of the last heartbeat
    until INTEGER NOT NULL,
    state TEXT NOT NULL,
    heartbeat TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS roles (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,                   -- owners.name
    since INTEGER NOT NULL,
    until INTEGER NOT NULL
) WITHOUT ROWID;

-- The schema version that the program of a process knows. Programs of version 1 do not write it.
ALTER TABLE owners ADD COLUMN program INTEGER NOT NULL DEFAULT 1;
