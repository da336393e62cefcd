-- The index of ids alone, in which each new transfer is on another page. Ids are sorted within blocks of 32,768 transfers instead, and
-- a look-up by id alone searches one block after the other.
ALTER TABLE @schema.transfers DROP CONSTRAINT transfers_pkey;
CREATE INDEX IF NOT EXISTS transfers_by_id ON @schema.transfers ((serial >> 15), id);
ALTER TABLE @schema.transfers ADD CONSTRAINT transfers_by_destination PRIMARY KEY USING INDEX transfers_by_destination;
