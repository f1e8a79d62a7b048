"""What a failed run of trials tells."""

from collections.abc import Sequence

import pytest

from tests.reliability.finding import run_trials, shortest
from tests.reliability.stages import Stage


def hold(stage: Stage, seeds: Sequence[int], options: str = "") -> None:
    """Fail with the first seed that breaks, by the shortest course that breaks it."""
    broken = run_trials(stage, seeds)
    if broken:
        seed, _ = broken[0]
        more = "\n".join(f"seed {seed}: {message}" for seed, message in broken[1:6])
        pytest.fail(
            f"{len(broken)} of {len(seeds)} trials broke\n{shortest(stage, seed)} {options}\n{more}", pytrace=False
        )
