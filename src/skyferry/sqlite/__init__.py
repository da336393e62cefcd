"""SQLite files of one machine, shared by the queue and the ledger."""
