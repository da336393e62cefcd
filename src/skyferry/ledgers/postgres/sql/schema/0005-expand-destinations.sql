-- Transfers are found by destination and id. Destinations are numbered in the order in which they are added, so new ones are next to
-- each other in the index. The old index goes first, because its lock keeps others from waiting for each other.
DROP INDEX IF EXISTS @schema.transfers_by_place;
CREATE UNIQUE INDEX IF NOT EXISTS transfers_by_destination ON @schema.transfers (place, id);
