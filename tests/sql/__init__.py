"""Generated SQL against golden files."""
