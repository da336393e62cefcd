-- One queue in one file. A message is ready (state 0), leased (1) or delayed (2).
CREATE TABLE IF NOT EXISTS message (
    seq INTEGER PRIMARY KEY,        -- the id; never used again
    body TEXT NOT NULL,             -- as it is where it is UTF-8 without NUL, else in hexadecimal
    hex INTEGER NOT NULL,           -- 1: in hexadecimal
    attributes TEXT NOT NULL,       -- JSON: [[name, value], ...]
    priority TEXT NOT NULL,
    dedup_id TEXT,                  -- as JSON, because a NUL would end it
    enqueued_at REAL NOT NULL,
    rank REAL NOT NULL,             -- enqueued_at less the head start; the smallest goes first
    state INTEGER NOT NULL,
    until REAL NOT NULL,            -- leased or delayed until then
    attempt INTEGER NOT NULL DEFAULT 0,
    owner TEXT                      -- who received it last and has not given it back
);
CREATE UNIQUE INDEX IF NOT EXISTS message_dedup ON message (dedup_id) WHERE dedup_id IS NOT NULL;
-- Hidden messages are in an index of their own, so that any number of them leaves `receive` as fast as it was.
CREATE INDEX IF NOT EXISTS message_ready ON message (rank) WHERE state = 0;
CREATE INDEX IF NOT EXISTS message_hidden ON message (state, until) WHERE state > 0;

CREATE TABLE IF NOT EXISTS counter (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    next INTEGER NOT NULL,          -- seq of the next message
    total INTEGER NOT NULL          -- messages present
);
INSERT OR IGNORE INTO counter VALUES (1, 1, 0);
