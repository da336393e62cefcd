"""Servers of one's own: their addresses and their certificates."""
