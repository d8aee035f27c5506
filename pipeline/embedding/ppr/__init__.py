"""Personalised PageRank of a whole graph: lists of neighbours, vectors, and the walk index."""
