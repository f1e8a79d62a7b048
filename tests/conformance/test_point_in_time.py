"""Every named case of the kit, on both forms of the SQL: no session zone, thread count or row order may matter."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product

import pyarrow as pa
import pytest

from featurelayer.testing import ABILITIES, ZONES, Case, DuckDBEngine, OracleEngine, abilities, applies, cases, check
from featurelayer.testing.builders import make_service, make_view
from featurelayer.testing.duckdb import FORMS
from tests import profiles

CASES = cases()


@pytest.fixture(scope="module", params=FORMS)
def engine(request: pytest.FixtureRequest) -> Iterator[DuckDBEngine]:
    found = DuckDBEngine(request.param)
    yield found
    found.close()


def use_threads(engine: DuckDBEngine, threads: int) -> None:
    engine.connection.execute(f"SET threads = {threads}")
    assert engine.warehouse.rows("SELECT current_setting('threads')") == [(threads,)]


@pytest.mark.more
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_case_in_every_zone_on_any_threads_and_in_any_row_order(engine: DuckDBEngine, case: Case) -> None:
    """Each zone on one of the two thread counts, one of them in `make test`; with twice the examples, on both."""
    orders = (case, case.reordered(), case.reordered(seed=1))
    ways = [
        (zone, order, 1 + (turn + shift) % 2)
        for shift in (1, 0)
        for turn, (zone, order) in enumerate(zip(ZONES, orders, strict=True))
    ]
    shift = len(case.name) % len(ZONES)  # so that `make test` tries every zone, with some of the cases
    ways = [*ways[shift : len(ZONES)], *ways[:shift], *ways[len(ZONES) :]]
    tried = profiles.turns(3, base=1)
    for zone, order, threads in ways[tried.start : tried.stop]:
        use_threads(engine, threads)
        assert check(engine, replace(order, zone=zone)) == [], (zone, threads)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_oracle_agrees_with_what_is_written_by_hand(case: Case) -> None:
    engine = OracleEngine()
    if applies(engine, case):
        assert case.features is not None
        assert check(engine, case) == []
    else:
        assert case.error is not None
        assert case.messages


def test_cases_have_names_of_their_own_and_say_why() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert [case.name for case in CASES if not case.why.endswith((".", "?"))] == []


def test_what_a_case_needs_is_an_ability_that_is_described() -> None:
    assert set().union(*(abilities(case) for case in CASES)) == ABILITIES.keys()


KEYS, EVENTS, TIES = 50, 1000, 5


@pytest.fixture(scope="module")
def crowd() -> tuple[Case, list[int | None]]:
    """So many rows that two threads share them, five at each moment, and what each of 3000 labels must get."""
    start = datetime(2024, 1, 1)
    view = make_view("v", {"k": "int64"}, {"e": "timestamp", "x": "int64"}, ["x"], event_time="e", online=True)
    spread = [(n * 7919) % (KEYS * EVENTS * TIES) for n in range(KEYS * EVENTS * TIES)]
    rows = pa.table(
        {
            "k": [n % KEYS for n in spread],
            "e": pa.array([start + timedelta(seconds=n // KEYS % EVENTS) for n in spread], pa.timestamp("us")),
            "x": spread,
        }
    )
    asked = [(n * 13 % (KEYS + 1), n * 17 % (EVENTS + 10) - 5) for n in range(3000)]
    labels = pa.table(
        {
            "k": [key for key, _ in asked],
            "t": pa.array([start + timedelta(seconds=second) for _, second in asked], pa.timestamp("us")),
        }
    )
    newest: dict[tuple[int, int], int] = {}
    for n in spread:
        moment = (n % KEYS, n // KEYS % EVENTS)
        newest[moment] = max(n, newest.get(moment, -1))
    right = [newest.get((key, min(second, EVENTS - 1))) for key, second in asked]
    service = make_service((view, None, None))
    return (
        Case(
            name="crowd",
            why="",
            views=(view,),
            rows={"v": rows},
            labels=labels,
            service=service,
            features={"v__x": right},
        ),
        right,
    )


def test_threads_that_share_the_rows_agree(engine: DuckDBEngine, crowd: tuple[Case, list[int | None]]) -> None:
    case, right = crowd
    assert 0 < right.count(None) < 100
    for threads, order in product((1, 2), (case, case.reordered(seed=2))):
        use_threads(engine, threads)
        assert check(engine, order) == []


def test_the_kit_needs_neither_hypothesis_nor_an_engine() -> None:
    heavy = {"hypothesis", "duckdb", "boto3", "click", "dbt"}
    script = "import featurelayer.testing, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert heavy & set(done.stdout.split()) == set()
