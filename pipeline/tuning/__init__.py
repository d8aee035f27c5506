"""Parameters chosen on hidden training pairs or labels: one search for vectors and for lists."""
