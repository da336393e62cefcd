-- The index of ids alone, in which each new transfer is on another page. Ids are sorted within blocks of 32,768 transfers instead, and
-- a look-up by id alone searches one block after the other. An invalid index would be used by no statement.
ALTER TABLE @schema.transfers DROP CONSTRAINT transfers_pkey;
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass('@schema.transfers_by_id') AND NOT indisvalid) THEN
        DROP INDEX @schema.transfers_by_id;
    END IF;
END $$;
CREATE INDEX IF NOT EXISTS transfers_by_id ON @schema.transfers ((serial >> 15), id);
ALTER TABLE @schema.transfers ADD CONSTRAINT transfers_by_destination PRIMARY KEY USING INDEX transfers_by_destination;
