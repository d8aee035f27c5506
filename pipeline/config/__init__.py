"""What to compute: one immutable model, built once from TOML, each part of the code handed its own section."""
