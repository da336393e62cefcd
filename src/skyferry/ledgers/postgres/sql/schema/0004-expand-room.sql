-- Room in each page for the placement, which a row gets when it is settled: then the update stays in the page, and no index changes.
-- Pages that exist are not rewritten.
ALTER TABLE @schema.places SET (fillfactor = 20);
