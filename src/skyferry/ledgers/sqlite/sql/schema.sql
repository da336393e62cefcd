-- Times are integers, 2^-22 seconds since 1970. What only people and the engine read is JSON in a column of its own table:
-- rows that change stay small, and rows that are large are only ever appended.
--
-- Writing a page that may be anywhere in a large file is what makes a large ledger slow. Claims and settlements find a transfer
-- by its destination key, whose number is given in the order of arrival, so a fresh transfer writes one such page: that of
-- its key, and if keys come in their order not even that. Everything else goes to the end of its table or index.

CREATE TABLE IF NOT EXISTS transfers (
    serial INTEGER PRIMARY KEY,             -- in the order of creation, never used again
    id_high INTEGER NOT NULL,               -- the id's first 64 bits,
    id_low INTEGER NOT NULL,                -- and its last
    place INTEGER NOT NULL,                 -- places.id
    state INTEGER NOT NULL,                 -- see STATES
    owner INTEGER NOT NULL,                 -- owners.id: who claimed it last
    burned INTEGER NOT NULL DEFAULT 0,      -- failures that count
    lost INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    due_at INTEGER,
    route TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    source_key TEXT                         -- where it differs from the destination key
);
-- 64 bits of the id find the row; the rest is compared in it.
CREATE INDEX IF NOT EXISTS transfers_by_place ON transfers (place, id_high);
-- People look transfers up by id alone, and can wait a millisecond: ids are random, so each 32,768 transfers are sorted on
-- their own, and a look-up searches one such part after the other.
CREATE INDEX IF NOT EXISTS transfers_by_id ON transfers (serial >> 15, id_high);
CREATE INDEX IF NOT EXISTS transfers_by_state ON transfers (state, updated_at);
CREATE INDEX IF NOT EXISTS transfers_by_source ON transfers (source_key) WHERE source_key IS NOT NULL;

CREATE TABLE IF NOT EXISTS details (serial INTEGER PRIMARY KEY, transfer TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS receipts (serial INTEGER PRIMARY KEY, receipt TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS failures (id INTEGER PRIMARY KEY, serial INTEGER NOT NULL, failure TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS failures_by_transfer ON failures (serial);

-- Destination keys, numbered in the order in which they came.
CREATE TABLE IF NOT EXISTS places (id INTEGER PRIMARY KEY, key TEXT NOT NULL, store TEXT NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS places_by_key ON places (key, store);

CREATE TABLE IF NOT EXISTS placements (
    place INTEGER PRIMARY KEY,
    bucket TEXT,                            -- of the source; NULL for a tombstone
    placement TEXT NOT NULL
);

-- Only keys that somebody works on. Fences come from one counter, so none is needed to remember them.
CREATE TABLE IF NOT EXISTS leases (
    place INTEGER PRIMARY KEY,
    owner INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    until INTEGER NOT NULL
);

-- Every process that has the ledger open, under a number that is never used again.
CREATE TABLE IF NOT EXISTS owners (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL);

CREATE TABLE IF NOT EXISTS letters (
    serial INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    transfer INTEGER,                       -- transfers.serial; NULL where the message was no event
    at INTEGER NOT NULL,
    route TEXT NOT NULL,
    reason TEXT NOT NULL,
    key TEXT NOT NULL,
    source_key TEXT NOT NULL,
    redriven_at INTEGER,
    hidden_until INTEGER,                   -- of a redriven one: leased, or not due yet
    letter TEXT NOT NULL,
    publish_at INTEGER DEFAULT 0,           -- leased for it until then; NULL = it was published
    bucket TEXT                             -- provider://bucket, where no store of the configuration is that
);
CREATE INDEX IF NOT EXISTS letters_by_time ON letters (at);
CREATE INDEX IF NOT EXISTS letters_by_cause ON letters (route, reason);
CREATE INDEX IF NOT EXISTS letters_redriven ON letters (hidden_until) WHERE redriven_at IS NOT NULL;

-- Uploads under way, and the parts that their stores have taken.
CREATE TABLE IF NOT EXISTS uploads (
    serial INTEGER PRIMARY KEY,
    place INTEGER NOT NULL,                 -- places.id
    upload TEXT NOT NULL,                   -- the id that its store gave it
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

-- "serial", "place" and "fence": the last one given. "state N": transfers in that state.
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO counters (name, value) VALUES ('serial', 0), ('place', 0), ('fence', 0);
