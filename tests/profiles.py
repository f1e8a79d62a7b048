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
    """Return the numbers of the trials of exports that go wrong: the first `base`, or the rest of `count`.

    By default all are the base. Both are multiplied by the trials' factor.
    """
    factor = _factor("FEATURELAYER_TRIALS", _factor("FEATURELAYER_EXAMPLES", 1))
    first = count if base is None else base
    return range(first, int(count * factor)) if is_rest() else range(max(1, int(first * factor)))


def turns(count: int, *, base: int) -> range:
    """Return which of `count` ways of running a case are to be tried: the first `base`, or the rest."""
    factor = _factor("FEATURELAYER_EXAMPLES", 1)
    first = max(1, int(base * factor))
    return range(first, max(first, int(count * factor))) if is_rest() else range(first)


def worlds(count: int, *, base: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a property of random worlds: `base` times their factor, or the rest of `count` from another seed."""
    factor = _factor("FEATURELAYER_WORLDS", _factor("FEATURELAYER_EXAMPLES", 1))
    if not is_rest():
        return settings(max_examples=max(1, int(base * factor)))
    return lambda test: seed(1)(settings(max_examples=max(1, int(count * factor) - base))(test))


def is_rest() -> bool:
    """Whether `make test` has drawn its base number before."""
    return os.environ.get("FEATURELAYER_REST") == "1"


def _factor(name: str, default: float) -> float:
    return float(os.environ.get(name, default))
