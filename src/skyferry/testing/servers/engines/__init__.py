"""Servers that teams run themselves: Redis, NATS and PostgreSQL. Each can be stopped, killed and started again on its data."""
