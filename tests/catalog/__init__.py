"""The catalog in a real browser: search, links, hostile texts, and what keeps people out."""
