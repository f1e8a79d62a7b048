"""The generic tests on DuckDB: silent on good data, and on bad data the offending rows, no others.

One dbt build runs every test with its failures stored. Models named `good_*` and `bad_*` share their annotations, so
the tests find keys and times by themselves; `plain` has none and its tests say everything in their arguments.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.integration.conftest import DbtCall, run_dbt, write_project

NOW = datetime.fromisoformat("2026-06-01 12:00")

# k, at, known, seq, x
GOOD = [
    ("a", "2026-06-01 08:00", "2026-06-01 08:10", 1, 1.0),
    ("a", "2026-06-01 08:00", "2026-06-01 08:10", 2, 2.0),
    ("a", "2026-06-01 08:00", "2026-06-01 09:10", 1, 2.0),
    ("b", "2026-06-01 11:00", "2026-06-01 11:00", 1, 10.0),
    ("b", "2026-06-01 11:30", "2026-06-01 11:45", 1, 0.0),
    (None, "2026-06-01 08:00", "2026-06-01 08:10", 1, 5.0),
    (None, "2026-06-01 08:00", "2026-06-01 08:10", 1, 5.0),
    ("a", None, "2026-06-01 08:10", 1, 5.0),
    ("a", None, "2026-06-01 08:10", 1, None),
]
BAD = [
    ("a", "2026-06-01 01:00", "2026-06-01 01:10", 1, 1.0),
    ("a", "2026-06-01 01:00", "2026-06-01 01:10", 1, 2.0),
    ("a", "2026-06-01 01:00", "2026-06-01 01:10", None, -0.5),
    ("b", "2026-06-01 02:00", "2026-06-01 01:59:59.999999", 1, 10.5),
    ("b", "2026-06-01 03:00", None, 1, None),
    ("c", "2026-06-01 03:00", "2026-06-01 03:00", 1, None),
]
FUTURE = [
    ("a", "2126-06-01 01:00", "2126-06-01 01:10", 1, 1.0),
    ("b", "2026-06-01 12:05", "2026-06-01 12:05", 1, 1.0),
    ("b", "2026-06-01 12:05:00.000001", "2026-06-01 12:06", 1, 1.0),
]
TABLES = {"good": GOOD, "bad": BAD, "future": FUTURE, "empty": []}

ANNOTATED = """
  - name: {model}
    config:
      event_time: happened_at
      meta:
        featurelayer:
          entity: thing
          available_at: known_at
          tie_breaker: [seq]
          freshness: {{error_after: {{count: 6, period: hour}}}}
    columns:
      - {{name: k, config: {{meta: {{featurelayer: {{join_key: thing}}}}}}}}
      - name: x
        config: {{meta: {{featurelayer: {{range: [0, 10]}}}}}}
        data_tests:
          - featurelayer.values_in_range: {{name: {model}_column_range}}
          - featurelayer.values_in_range: {{name: {model}_from_one, arguments: {{min_value: 1}}}}
          - featurelayer.null_rate_below: {{name: {model}_null_third, arguments: {{rate: 0.3333}}}}
          - featurelayer.null_rate_below: {{name: {model}_null_half, arguments: {{rate: 0.5}}}}
    data_tests:
      - featurelayer.unique_per_entity_and_time: {{name: {model}_unique}}
      - featurelayer.event_time_not_in_future: {{name: {model}_future}}
      - featurelayer.event_time_not_in_future:
          name: {model}_future_as_of
          arguments: {{as_of: "{now}", tolerance: 5 minutes}}
      - featurelayer.available_not_before_event: {{name: {model}_available}}
      - featurelayer.values_in_range: {{name: {model}_range}}
      - featurelayer.fresh_within: {{name: {model}_fresh, arguments: {{as_of: "{now}"}}}}
      - featurelayer.fresh_within: {{name: {model}_fresh_now}}
      - featurelayer.fresh_within:
          name: {model}_fresh_each
          arguments: {{as_of: "{now}", period: 1 hour, per_entity: true}}
      - featurelayer.unique_per_entity_and_time: {{name: {model}_unique_where, config: {{where: "seq is not null"}}}}
"""
PLAIN = """
  - name: plain
    data_tests:
      - featurelayer.unique_per_entity_and_time:
          name: plain_unique
          arguments: {keys: k, event_time: happened_at}
      - featurelayer.unique_per_entity_and_time:
          name: plain_unique_also
          arguments: {keys: [k], event_time: happened_at, also: [seq]}
      - featurelayer.unique_per_entity_and_time:
          name: plain_static
          arguments: {keys: [k]}
      - featurelayer.available_not_before_event:
          name: plain_available
          arguments: {event_time: happened_at, available_at: known_at}
      - featurelayer.fresh_within:
          name: plain_fresh
          arguments: {event_time: happened_at, period: 1 hour, as_of: "2026-06-01 04:00:00.000001"}
      - featurelayer.fresh_within:
          name: plain_fresh_enough
          arguments: {event_time: happened_at, period: 1 hour, as_of: "2026-06-01 04:00"}
      - featurelayer.fresh_within: {name: plain_unknown}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose tests all ran, with a table of the offending rows of each."""
    models = "models:" + "".join(ANNOTATED.format(model=name, now=NOW.isoformat()) for name in TABLES) + PLAIN
    selects = {f"models/{name}.sql": _select(rows) for name, rows in {**TABLES, "plain": BAD}.items()}
    folder = write_project(
        tmp_path_factory.mktemp("generic_tests"),
        {**selects, "models/models.yml": models},
        settings="data_tests: {+store_failures: true}",
    )
    run_dbt(folder, "build", check=False)
    return folder


def _select(rows: list[tuple[Any, ...]]) -> str:
    def literal(value: Any) -> str:
        return "null" if value is None else f"'{value}'"

    listed = ", ".join("(" + ", ".join(literal(value) for value in row) + ")" for row in rows or [(None,) * 5])
    return (
        "select cast(k as varchar) as k, cast(happened_at as timestamp) as happened_at, "
        "cast(known_at as timestamp) as known_at, cast(seq as integer) as seq, cast(x as double) as x "
        f"from (values {listed}) as rows_of_case(k, happened_at, known_at, seq, x){'' if rows else ' where false'}"
    )


@pytest.fixture(scope="module")
def results(project: Path) -> dict[str, dict[str, Any]]:
    nodes = json.loads((project / "target/manifest.json").read_text())["nodes"]
    runs = json.loads((project / "target/run_results.json").read_text())["results"]
    return {
        nodes[run["unique_id"]]["name"]: {**run, "relation": nodes[run["unique_id"]]["relation_name"]} for run in runs
    }


def offending(project: Path, results: dict[str, dict[str, Any]], test: str, columns: str) -> list[tuple[Any, ...]]:
    assert results[test]["status"] == "fail", results[test]["message"]
    with duckdb.connect(str(project / "db.duckdb"), read_only=True) as connection:
        return connection.execute(f"select {columns} from {results[test]['relation']} order by all").fetchall()


QUIET_ON_GOOD = "unique unique_where future future_as_of available range column_range null_third null_half fresh"
QUIET_ON_EMPTY = "unique future available range column_range null_third fresh_each"
PASSES = [
    *(f"good_{test}" for test in QUIET_ON_GOOD.split()),
    *(f"empty_{test}" for test in QUIET_ON_EMPTY.split()),
    *("bad_future", "bad_future_as_of", "bad_null_half", "future_fresh_now", "plain_fresh_enough"),
]


@pytest.mark.parametrize("test", PASSES)
def test_good_data_passes(results: dict[str, dict[str, Any]], test: str) -> None:
    assert (results[test]["status"], results[test]["failures"]) == ("pass", 0), results[test]["message"]


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-06-01 {text}")


FAILS = [
    ("bad_unique", "k, happened_at, seq, x", [("a", at("01:00"), 1, 1.0), ("a", at("01:00"), 1, 2.0)]),
    ("bad_unique_where", "k, happened_at, seq, x", [("a", at("01:00"), 1, 1.0), ("a", at("01:00"), 1, 2.0)]),
    ("bad_available", "k, happened_at, known_at", [("b", at("02:00"), at("01:59:59.999999"))]),
    ("bad_range", "k, x, column_out_of_range", [("a", -0.5, "x"), ("b", 10.5, "x")]),
    ("bad_column_range", "k, x, column_out_of_range", [("a", -0.5, "x"), ("b", 10.5, "x")]),
    ("bad_from_one", "k, x", [("a", -0.5)]),
    (
        "bad_null_third",
        "k, happened_at, x, round(null_rate, 4)",
        [("b", at("03:00"), None, 0.3333), ("c", at("03:00"), None, 0.3333)],
    ),
    ("bad_fresh", "newest_event_time, k", [(at("03:00"), "b"), (at("03:00"), "c")]),
    ("bad_fresh_now", "newest_event_time, k", [(at("03:00"), "b"), (at("03:00"), "c")]),
    ("bad_fresh_each", "k, newest_event_time", [("a", at("01:00"))] * 3 + [("b", at("03:00")), ("c", at("03:00"))]),
    ("good_fresh_each", "k, newest_event_time", [("a", at("08:00"))] * 3),
    ("empty_fresh", "newest_event_time, k", [(None, None)]),
    ("future_future", "k", [("a",)]),
    (
        "future_future_as_of",
        "k, happened_at",
        [("a", datetime.fromisoformat("2126-06-01 01:00")), ("b", at("12:05:00.000001"))],
    ),
    ("plain_unique", "k, happened_at, x", [("a", at("01:00"), -0.5), ("a", at("01:00"), 1.0), ("a", at("01:00"), 2.0)]),
    ("plain_unique_also", "k, x", [("a", 1.0), ("a", 2.0)]),
    ("plain_static", "k", [("a",)] * 3 + [("b",)] * 2),
    ("plain_available", "k, happened_at", [("b", at("02:00"))]),
    ("plain_fresh", "k, newest_event_time", [("b", at("03:00")), ("c", at("03:00"))]),
]


@pytest.mark.parametrize(("test", "columns", "rows"), FAILS, ids=[case[0] for case in FAILS])
def test_bad_data_fails_with_the_offending_rows(
    project: Path, results: dict[str, dict[str, Any]], test: str, columns: str, rows: list[tuple[Any, ...]]
) -> None:
    assert offending(project, results, test, columns) == rows
    assert results[test]["failures"] == len(rows)


def test_a_test_that_lacks_a_time_says_what_to_annotate(results: dict[str, dict[str, Any]]) -> None:
    assert results["plain_unknown"]["status"] == "error"
    assert "event_time and period not known; annotate the model" in results["plain_unknown"]["message"]


def test_parsing_the_package_warns_of_nothing(project: Path, dbt: DbtCall) -> None:
    result = dbt(project, "parse", "--no-partial-parse", "--show-all-deprecations", "--warn-error", cwd=project.parent)
    assert "warn" not in result.stdout.lower().replace("--warn-error", "")


def test_the_newest_time_stays_after_the_good_rows() -> None:
    """Guards the data of this file: `good_fresh` must be decided by the limit of six hours."""
    newest = max(datetime.fromisoformat(row[1]) for row in GOOD if row[1])
    assert NOW - timedelta(hours=6) <= newest <= NOW
