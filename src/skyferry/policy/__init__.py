"""Least-privilege policies, worked out from the configuration alone. Pure: nothing is asked or opened.

`needs` says what the routes do at each store and queue; one file per cloud says it in that cloud's words.
"""
