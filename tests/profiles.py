"""How many examples a property test runs: `FEATURELAYER_EXAMPLES=10 make test` runs ten times as many."""

import os


def examples(count: int) -> int:
    """Return `count` times the factor that the environment asks for, at least 1."""
    return max(1, int(count * float(os.environ.get("FEATURELAYER_EXAMPLES", "1"))))
