"""Delimited text and JSON to batches of raw columns."""
