"""Exports of a release: what an index, an array or a store of features reads in the place of the table."""
