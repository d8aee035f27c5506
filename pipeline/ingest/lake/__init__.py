"""Lake tables (Delta, Iceberg): files that a log names, read as of one snapshot."""
