-- One queue in one file. A message is ready (state 0), leased (1) or delayed (2).
CREATE TABLE IF NOT EXISTS message (
    seq INTEGER PRIMARY KEY,        -- the id; never reused
    body TEXT NOT NULL,             -- verbatim if it is UTF-8 without NUL, else hexadecimal
    hex INTEGER NOT NULL,           -- 1: hexadecimal
    attributes TEXT NOT NULL,       -- JSON: [[name, value], ...]
    priority TEXT NOT NULL,
    dedup_id TEXT,                  -- as JSON, because a NUL would truncate it
    enqueued_at REAL NOT NULL,
    rank REAL NOT NULL,             -- enqueued_at minus the head start; lowest first
    state INTEGER NOT NULL,
    until REAL NOT NULL,            -- leased or delayed until then
    attempt INTEGER NOT NULL DEFAULT 0,
    owner TEXT                      -- the receiver, until it releases the message
);
CREATE UNIQUE INDEX IF NOT EXISTS message_dedup ON message (dedup_id) WHERE dedup_id IS NOT NULL;
-- Hidden messages have a separate index, so that their number does not slow down `receive`.
CREATE INDEX IF NOT EXISTS message_ready ON message (rank) WHERE state = 0;
CREATE INDEX IF NOT EXISTS message_hidden ON message (state, until) WHERE state > 0;

CREATE TABLE IF NOT EXISTS counter (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    next INTEGER NOT NULL,          -- seq of the next message
    total INTEGER NOT NULL          -- messages present
);
INSERT OR IGNORE INTO counter VALUES (1, 1, 0);
