"""SQLite files of one machine, shared by the queue and the ledger; and inotify, by which changes of their folder are noticed."""
