"""How much a test that draws at random draws: `FEATURELAYER_EXAMPLES=10 make test` draws ten times as much."""

import os


def examples(count: int) -> int:
    """Return `count` times the factor that the environment asks for, at least 1."""
    return max(1, int(count * _factor("FEATURELAYER_EXAMPLES", 1)))


def trials(count: int) -> int:
    """Return the same for the trials of exports that go wrong, which have a factor of their own if it is set."""
    return max(1, int(count * _factor("FEATURELAYER_TRIALS", _factor("FEATURELAYER_EXAMPLES", 1))))


def joins(count: int) -> int:
    """Return the same for random worlds that are joined, which have a factor of their own if it is set."""
    return max(1, int(count * _factor("FEATURELAYER_WORLDS", _factor("FEATURELAYER_EXAMPLES", 1))))


def _factor(name: str, default: float) -> float:
    return float(os.environ.get(name, default))
