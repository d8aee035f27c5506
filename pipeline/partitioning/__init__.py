"""Cut the graph: arrays in, arrays out."""
