"""The report on a night: figures and arrays in, one HTML page out."""
