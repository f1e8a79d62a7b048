"""README and docs: their commands are run, and what they show is compared."""
