"""How much a test that draws at random draws: `FEATURELAYER_EXAMPLES=10 make test` draws ten times as much.

`make test` draws a base number. `make test-all`, which sets FEATURELAYER_REST=1, draws the rest from other seeds, in
the tests that have the mark `more`.
"""

import os
from collections.abc import Callable
from typing import Any

from hypothesis import seed, settings


def examples(count: int) -> int:
    """Return `count` times the factor of the environment, at least 1."""
    return max(1, int(count * _factor("FEATURELAYER_EXAMPLES", 1)))


def trials(count: int, *, base: int | None = None) -> range:
    """Return the numbers of the trials of exports that go wrong: `count` times their factor.

    The rest begins after `base`, what `make test` runs: by default `count`.
    """
    factor = _factor("FEATURELAYER_TRIALS", _factor("FEATURELAYER_EXAMPLES", 1))
    return range((count if base is None else base) if is_rest() else 0, max(1, int(count * factor)))


def worlds(count: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a property of random worlds: `count` times their factor, or the rest from another seed."""
    total = count * _factor("FEATURELAYER_WORLDS", _factor("FEATURELAYER_EXAMPLES", 1))
    if not is_rest():
        return settings(max_examples=max(1, int(total)))
    return lambda test: seed(1)(settings(max_examples=max(1, int(total) - count))(test))


def is_rest() -> bool:
    """Whether `make test` has drawn its base number before."""
    return os.environ.get("FEATURELAYER_REST") == "1"


def _factor(name: str, default: float) -> float:
    return float(os.environ.get(name, default))
