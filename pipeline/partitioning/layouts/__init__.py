"""From a cut to blocks: which edges and rows each part holds, by boundary mode."""
