"""Least-privilege policies, computed from the configuration alone. Pure: without requests and files.

`needs` computes the access of the routes to each store and queue; one file per cloud writes it in that cloud's form.
"""
