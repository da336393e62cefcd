-- Times are integers, in units of 2^-22 seconds since 1970. Values that no statement compares are JSON in separate tables:
-- rows that change stay small, and large rows are only appended.
--
-- Random page writes are what slows down a large file. Claims and settlements find a transfer by its destination, and
-- destinations are numbered in order of arrival. So a fresh transfer writes one random page, that of its key; none if keys
-- arrive in order. All other writes go to the end of a table or index.

CREATE TABLE IF NOT EXISTS transfers (
    serial INTEGER PRIMARY KEY,             -- in order of creation, never reused
    id_high INTEGER NOT NULL,               -- the id's first 64 bits,
    id_low INTEGER NOT NULL,                -- and its last
    place INTEGER NOT NULL,                 -- the destination: places.id
    state INTEGER NOT NULL,                 -- see STATES
    owner INTEGER NOT NULL,                 -- owners.id of the last claim
    burned INTEGER NOT NULL DEFAULT 0,      -- counted failures
    lost INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    due_at INTEGER,
    route TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    source_key TEXT                         -- where it differs from the destination key
);
-- The first 64 bits of the id find the row; the others are compared.
CREATE INDEX IF NOT EXISTS transfers_by_place ON transfers (place, id_high);
-- Look-ups by id alone may take a millisecond. Ids are random, so they are sorted within blocks of 32,768 transfers, and a
-- look-up searches one block after the other.
CREATE INDEX IF NOT EXISTS transfers_by_id ON transfers (serial >> 15, id_high);
CREATE INDEX IF NOT EXISTS transfers_by_state ON transfers (state, updated_at);
CREATE INDEX IF NOT EXISTS transfers_by_source ON transfers (source_key) WHERE source_key IS NOT NULL;

CREATE TABLE IF NOT EXISTS details (serial INTEGER PRIMARY KEY, transfer TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS receipts (serial INTEGER PRIMARY KEY, receipt TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS failures (id INTEGER PRIMARY KEY, serial INTEGER NOT NULL, failure TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS failures_by_transfer ON failures (serial);

-- Destinations: keys in stores, numbered in order of arrival.
CREATE TABLE IF NOT EXISTS places (id INTEGER PRIMARY KEY, key TEXT NOT NULL, store TEXT NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS places_by_key ON places (key, store);

CREATE TABLE IF NOT EXISTS placements (
    place INTEGER PRIMARY KEY,
    bucket TEXT,                            -- of the source; NULL for a tombstone
    placement TEXT NOT NULL
);

-- Leases on destinations. Fences come from one counter, so a freed lease leaves nothing to remember.
CREATE TABLE IF NOT EXISTS leases (
    place INTEGER PRIMARY KEY,
    owner INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    until INTEGER NOT NULL
);

-- Processes that have the ledger open, by a number that is never reused.
CREATE TABLE IF NOT EXISTS owners (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL);

CREATE TABLE IF NOT EXISTS letters (
    serial INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    transfer INTEGER,                       -- transfers.serial; NULL for a message without an event
    at INTEGER NOT NULL,
    route TEXT NOT NULL,
    reason TEXT NOT NULL,
    key TEXT NOT NULL,
    source_key TEXT NOT NULL,
    redriven_at INTEGER,
    hidden_until INTEGER,                   -- of a redriven letter: end of its lease, or due time
    letter TEXT NOT NULL
);
-- Two columns that older files lack
ALTER TABLE letters ADD COLUMN publish_at INTEGER DEFAULT 0;    -- end of the lease to publish it; NULL = published
ALTER TABLE letters ADD COLUMN bucket TEXT;     -- provider://bucket, if no configured store is that bucket
CREATE INDEX IF NOT EXISTS letters_by_time ON letters (at);
CREATE INDEX IF NOT EXISTS letters_by_cause ON letters (route, reason);
CREATE INDEX IF NOT EXISTS letters_redriven ON letters (hidden_until) WHERE redriven_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS letters_unpublished ON letters (publish_at) WHERE publish_at IS NOT NULL AND redriven_at IS NULL;
CREATE INDEX IF NOT EXISTS letters_by_bucket ON letters (bucket) WHERE bucket IS NOT NULL;

-- Open uploads, and the parts that their stores have.
CREATE TABLE IF NOT EXISTS uploads (
    serial INTEGER PRIMARY KEY,
    place INTEGER NOT NULL,                 -- the destination: places.id
    upload TEXT NOT NULL,                   -- the id given by its store
    saved_at INTEGER NOT NULL,
    progress TEXT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS uploads_by_place ON uploads (place, upload);
CREATE TABLE IF NOT EXISTS parts (
    upload INTEGER NOT NULL,                -- uploads.serial
    number INTEGER NOT NULL,
    part TEXT NOT NULL,
    PRIMARY KEY (upload, number)
) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS parts_of_a_closed_upload AFTER DELETE ON uploads
BEGIN
    DELETE FROM parts WHERE upload = OLD.serial;
END;

-- The newest event of a source key that no route took.
CREATE TABLE IF NOT EXISTS refusals (
    key TEXT NOT NULL,
    bucket TEXT NOT NULL,                   -- provider://bucket
    at INTEGER NOT NULL,
    refusal TEXT NOT NULL,
    PRIMARY KEY (key, bucket)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS refusals_by_time ON refusals (at);

-- Deletes that wait for a decision, and identities of sources.
CREATE TABLE IF NOT EXISTS held_deletes (
    serial INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,                -- of the object, see HeldDelete.id
    state TEXT NOT NULL,                    -- held, approved, rejected
    store TEXT NOT NULL,
    reason TEXT NOT NULL,
    at INTEGER NOT NULL,
    decided_at INTEGER,
    provider TEXT NOT NULL,
    bucket TEXT NOT NULL,
    key TEXT NOT NULL,
    routes TEXT NOT NULL                    -- a JSON array of names
);
CREATE INDEX IF NOT EXISTS held_deletes_by_state ON held_deletes (state, store, reason);
CREATE TABLE IF NOT EXISTS identities (source TEXT PRIMARY KEY, identity TEXT NOT NULL) WITHOUT ROWID;

-- "serial", "place" and "fence": the last number used. "state N": the number of transfers in that state.
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO counters (name, value) VALUES ('serial', 0), ('place', 0), ('fence', 0);
