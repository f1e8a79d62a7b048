"""The tests of this package can fail: the naive protocol does, and so does the real one without any one safeguard."""

import pytest

from tests.reliability.finding import attempt, run_trials, shortest
from tests.reliability.protocols import PROTOCOLS
from tests.reliability.simulation import Choices
from tests.reliability.stages import memory_stage

TRIALS = {
    "naive": 100, "without conditions": 100, "without tombstones": 400, "without intents": 150,
    "without a conditional commit": 100,
}  # fmt: skip


@pytest.mark.parametrize("name", PROTOCOLS)
def test_what_is_not_safe_is_found(name, capsys):
    broken = run_trials(PROTOCOLS[name](), range(TRIALS[name]))
    with capsys.disabled():
        print(f"\n{name}: {len(broken)} of {TRIALS[name]} trials broke, first seed {broken[0] if broken else '-'}")
    assert broken
    if name == "naive":
        assert len(broken) > TRIALS[name] / 2


def test_a_failure_comes_with_a_short_course_that_breaks_again():
    stage = PROTOCOLS["naive"]()
    seed, _ = run_trials(stage, range(50))[0]
    failure = shortest(stage, seed, patience=300)
    assert f"tests.reliability.replay {seed}" in str(failure)
    assert len(failure.told) <= 60
    assert attempt(stage, Choices(given=failure.choices))[0] == failure.message


def test_every_step_of_the_protocol_is_met_by_every_fault():
    stage = memory_stage()
    assert run_trials(stage, range(5_000_000, 5_000_150)) == []
    steps = (
        "before the intent", "the intent's transaction", "after the intent", "write lease", "write begun and schema",
        "connect to the warehouse", "read commit", "write values", "middle of a batch", "write commit",
        "connect to the warehouse to write",
    )  # fmt: skip
    killed = {step for step in steps if stage.happened.get(f"kill at: {step}")}
    assert killed >= set(steps) - {"middle of a batch"}
    for what in ("sleeps", "wakes late", "wakes after the recovery", "warehouse rebuilt", "streamed",
                 "garbage collected", "schema changed", "ttl changed", "older correction", "delete", "time passes",
                 "failed loudly"):  # fmt: skip
        assert stage.happened.get(what), what
