"""Parts of the graph as arrays that one task opens by itself."""
