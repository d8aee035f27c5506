"""The figures of a run, from its files: what its tables are worth, and what changed since the baseline."""
