"""Who runs a combo, and where."""
