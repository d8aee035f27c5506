"""The commands of graphquilt that are no runs: one module each, with parser() and answer(options)."""
