"""Releases: staged, gated, swapped in by one pointer, kept or removed."""
