-- The queues of one schema, in one table. A message is ready (until is null), or leased (owner) or delayed until a time of the server.
CREATE TABLE @schema.message (
    queue text NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    body bytea NOT NULL,
    attributes text NOT NULL,           -- JSON: [[name, value], ...]
    priority text NOT NULL,
    dedup_id bytea,
    enqueued_at timestamptz NOT NULL,
    rank timestamptz NOT NULL,          -- enqueued_at minus the head start; the earliest first
    until timestamptz,
    attempt integer NOT NULL DEFAULT 0,
    owner text,                         -- the receiver, until it releases the message
    PRIMARY KEY (queue, id)
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.01, -- each message leaves dead rows behind
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0
);
CREATE UNIQUE INDEX message_dedup ON @schema.message (queue, dedup_id) WHERE dedup_id IS NOT NULL;
-- Hidden messages have a separate index, so that their number does not slow down `receive`.
CREATE INDEX message_ready ON @schema.message (queue, rank, id) WHERE until IS NULL;
CREATE INDEX message_hidden ON @schema.message (queue, until) WHERE until IS NOT NULL;
