"""Notices what changes in a local folder: `folder` while it happens, `reconcile` what happened while nobody watched."""
