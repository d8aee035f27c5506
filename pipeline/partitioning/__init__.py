"""Cut the graph into parts, and lay the parts out as blocks."""
