"""Files of interactions to checked, typed Arrow batches."""
