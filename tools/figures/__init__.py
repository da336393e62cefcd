"""Measure the tree: layout, names and prose, against the limits that the project keeps."""
