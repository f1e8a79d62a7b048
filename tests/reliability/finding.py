"""Runs trials, and finds the shortest course of one that broke."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.reliability.simulation import Choices
from tests.reliability.stages import Stage
from tests.reliability.trials import Broken, Trial


@dataclass(frozen=True, slots=True)
class Failure:
    """A trial that broke: its seed, and the shortest course that was found to break the same way."""

    seed: int
    message: str
    choices: tuple[int, ...]
    told: tuple[str, ...]

    def __str__(self) -> str:
        course = "\n".join(f"  {number}. {text}" for number, text in enumerate(self.told, 1))
        again = f"python -m tests.reliability.replay {self.seed}"
        return f"{self.message}\nseed {self.seed}, shortest course found:\n{course}\nto see it whole: {again}"


def attempt(stage: Stage, choices: Choices) -> tuple[str | None, Trial]:
    """Run a trial; return what broke, if anything did."""
    trial = (stage.trial or Trial)(stage, choices)
    try:
        trial.run()
    except Broken as broken:
        return str(broken), trial
    return None, trial


def run_trials(stage: Stage, seeds: Sequence[int]) -> list[tuple[int, str]]:
    """Return the seeds that broke and how."""
    return [(seed, broken) for seed in seeds if (broken := attempt(stage, Choices(seed))[0]) is not None]


def shortest(stage: Stage, seed: int, *, patience: int = 1_500) -> Failure:
    """Return a trial's failure by the shortest course that can be found: choices are left out and made 0."""
    broken, trial = attempt(stage, Choices(seed))
    assert broken is not None
    best, best_trial, message = list(trial.choices.made), trial, broken

    def better(given: list[int]) -> bool:
        nonlocal best, best_trial, message, patience
        patience -= 1
        found, tried = attempt(stage, Choices(given=given))
        made = tried.choices.made
        while made and made[-1] == 0:
            made.pop()
        if found is None or (len(made), sum(made)) >= (len(best), sum(best)):
            return False
        best, best_trial, message = made, tried, found
        return True

    size = max(1, len(best) // 2)
    while size and patience > 0:
        start, improved = 0, False
        while start < len(best) and patience > 0:
            if better(best[:start] + best[start + size :]) or (
                any(best[start : start + size]) and better(best[:start] + [0] * size + best[start + size :])
            ):
                improved = True
            else:
                start += size
        if not improved:
            size //= 2
    return Failure(seed, message, tuple(best), tuple(best_trial.told))
