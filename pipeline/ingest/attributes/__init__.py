"""Attributes of nodes: read and checked, hashed to features, numbered, and handed to blocks."""
