"""Connections to Redis and Valkey, which queues and ledgers share."""
