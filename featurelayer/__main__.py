"""`python -m featurelayer` and the `featurelayer` command."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line and return its exit code."""
    try:
        from featurelayer.cli import main as run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("featurelayer"):
            raise
        from featurelayer.errors import MissingDependency

        sys.stderr.write(f"Error: {MissingDependency(error.name, 'cli')}\n")
        return 1
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
