"""One monitor per file, found by its name."""
