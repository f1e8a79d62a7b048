"""Properties on random examples, drawn by hypothesis."""
