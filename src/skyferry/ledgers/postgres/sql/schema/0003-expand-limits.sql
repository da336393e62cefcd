-- Rates that workers share, and circuit breakers that are open for all. Times are in seconds; names are compared by their bytes.
-- A failure of the server may empty these tables, so their commits wait for no disk.
CREATE UNLOGGED TABLE IF NOT EXISTS @schema.rates (
    name text COLLATE "C" PRIMARY KEY,
    at double precision NOT NULL,           -- of the last reservation
    ahead double precision NOT NULL,        -- from then on until the next units may be used
    rate double precision NOT NULL
) WITH (fillfactor = 50);
CREATE UNLOGGED TABLE IF NOT EXISTS @schema.breakers (
    name text COLLATE "C" PRIMARY KEY,
    opening bigint NOT NULL,
    side text NOT NULL,
    at double precision NOT NULL,
    until double precision NOT NULL,
    cooldown double precision NOT NULL,
    holder text NOT NULL,                   -- of the trial: owners.name, or ''
    trial_until double precision NOT NULL
) WITH (fillfactor = 50);
