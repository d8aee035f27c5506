"""Discrete codes of nodes: clusters of the graph, and paths from coarse to fine ones."""
