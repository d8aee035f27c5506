"""The pipeline: from interactions to published embedding tables."""
