"""One thin spark-submit entry a stage, and the command line."""
