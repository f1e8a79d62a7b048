"""The command line. Its code is in app.py, because the module `list` hides the builtin here once it is imported."""

from featurelayer.cli.app import cli, main

__all__ = ["cli", "main"]
