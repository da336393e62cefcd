-- Rates that workers share, and circuit breakers that are open for all. Times are in seconds.
CREATE TABLE IF NOT EXISTS rates (
    name TEXT PRIMARY KEY,
    at REAL NOT NULL,                       -- of the last reservation
    ahead REAL NOT NULL,                    -- from then on until the next units may be used
    rate REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS breakers (
    name TEXT PRIMARY KEY,
    opening INTEGER NOT NULL,
    side TEXT NOT NULL,
    at REAL NOT NULL,
    until REAL NOT NULL,
    cooldown REAL NOT NULL,
    holder TEXT NOT NULL,                   -- of the trial: owners.name, or ''
    trial_until REAL NOT NULL
) WITHOUT ROWID;
