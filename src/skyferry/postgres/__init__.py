"""Connections to PostgreSQL, which queues and ledgers share."""
