"""One module at a time; most of `make check`."""
