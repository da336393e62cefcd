-- Transfers are found by destination and id. Destinations are numbered in the order in which they are added, so new ones are next to
-- each other in the index. The old index goes first, because its lock keeps others from waiting for each other. An index that was
-- to be built before and is invalid would be used by no statement.
DROP INDEX IF EXISTS @schema.transfers_by_place;
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass('@schema.transfers_by_destination') AND NOT indisvalid) THEN
        DROP INDEX @schema.transfers_by_destination;
    END IF;
END $$;
CREATE UNIQUE INDEX IF NOT EXISTS transfers_by_destination ON @schema.transfers (place, id);
