"""Answers about a release beside its tables: neighbours by PageRank, one row again, rows of new nodes."""
