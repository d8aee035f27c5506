"""The commands of graphquilt that are no runs: one module each, whose docstring is the command's help."""
