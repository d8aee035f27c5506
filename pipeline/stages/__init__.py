"""One file a stage: an engine in one hand, one function over tasks in the other."""
