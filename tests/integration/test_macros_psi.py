"""`psi_below` run by dbt on DuckDB: silent on what did not move, and the same figure as the monitor's elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from featurelayer.monitor.distances import SharePair, psi
from tests.integration.conftest import run_dbt, write_project

BASELINE = """view,feature,bin,above,up_to,category,row_count
legs,delay,0,,0.0,,10
legs,delay,1,0.0,10.0,,490
legs,delay,2,10.0,20.0,,500
legs,delay,3,20.0,,,0
legs,carrier,0,,,UA,600
legs,carrier,1,,,DL,400
legs,late,0,,,true,250
legs,late,1,,,false,750
"""
# As in the baseline; moved; too few; and moved but of NULL, NaN and infinity alone.
MODELS = {
    "same": "select i % 20 + 0.5 as delay, case when i % 10 < 6 then 'UA' else 'DL' end as carrier, i % 4 = 0 as late "
    "from range(1000) t(i)",
    "moved": "select i % 20 + 5.5 as delay, case when i % 10 < 4 then 'UA' when i % 10 < 8 then 'DL' else 'B6' end as "
    "carrier, i % 4 <> 0 as late from range(1000) t(i)",
    "few": "select 99.0 as delay, 'B6' as carrier, true as late from range(499) t(i)",
    "odd": "select case i % 3 when 0 then 'nan'::double when 1 then 'inf'::double end as delay, "
    "cast(null as varchar) as carrier, cast(null as boolean) as late from range(3000) t(i)",
}
TESTS = """
  - name: {model}
    columns:
      - name: delay
        data_tests:
          - featurelayer.psi_below:
              {{name: {model}_delay, arguments: {{baseline: ref('baselines'), view: legs}}}}
      - name: carrier
        data_tests:
          - featurelayer.psi_below:
              {{name: {model}_carrier, arguments: {{baseline: ref('baselines'), view: legs, categorical: true}}}}
      - name: late
        data_tests:
          - featurelayer.psi_below:
              name: {model}_late
              arguments: {{baseline: ref('baselines'), view: legs, categorical: true, threshold: 5}}
"""
LEGS = """
  - name: legs
    columns:
      - name: delay
        data_tests:
          - featurelayer.psi_below: {name: legs_by_its_own_name, arguments: {baseline: ref('baselines')}}
          - featurelayer.psi_below: {name: legs_unknown, arguments: {baseline: ref('baselines'), feature: unknown}}
"""

SILENT = (
    "same_delay", "same_carrier", "same_late", "few_delay", "few_carrier", "odd_delay", "odd_late", "moved_late",
    "legs_by_its_own_name",
)  # fmt: skip
# Rows per bin of the baseline and of the model, out of a thousand.
MOVED = (
    ("moved_delay", (10, 490, 500, 0), (0, 250, 500, 250)),
    ("moved_carrier", (0, 400, 600), (200, 400, 400)),
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = "models:" + "".join(TESTS.format(model=name) for name in MODELS) + LEGS
    folder = write_project(
        tmp_path_factory.mktemp("psi"),
        {
            **{f"models/{name}.sql": query for name, query in MODELS.items()},
            "models/legs.sql": MODELS["same"],
            "models/models.yml": models,
        },
        settings="data_tests: {+store_failures: true}",
    )
    (folder / "seeds").mkdir()
    (folder / "seeds" / "baselines.csv").write_text(BASELINE)
    run_dbt(folder, "build", check=False)
    return folder


def outcome(project: Path, test: str) -> tuple[str, list[tuple[Any, ...]]]:
    nodes = json.loads((project / "target/manifest.json").read_text())["nodes"]
    runs = json.loads((project / "target/run_results.json").read_text())["results"]
    (run,) = [run for run in runs if nodes[run["unique_id"]]["name"] == test]
    if run["status"] != "fail":
        return run["status"], []
    with duckdb.connect(str(project / "db.duckdb"), read_only=True) as connection:
        relation = nodes[run["unique_id"]]["relation_name"]
        return "fail", connection.execute(f"select * from {relation} order by bin").fetchall()


@pytest.mark.parametrize("test", SILENT)
def test_what_did_not_move_or_is_too_little_passes(project: Path, test: str) -> None:
    assert outcome(project, test) == ("pass", [])


@pytest.mark.parametrize(("test", "one", "other"), MOVED)
def test_what_moved_fails_with_its_bins_and_the_figure_of_the_monitor(
    project: Path, test: str, one: tuple[int, ...], other: tuple[int, ...]
) -> None:
    status, rows = outcome(project, test)
    assert status == "fail"
    pair = SharePair(one=tuple(n / 1000 for n in one), other=tuple(n / 1000 for n in other))
    assert len(rows) == len(one)
    assert [row[4] for row in rows] == [pytest.approx(psi(pair))] * len(one)
    assert sum(row[3] for row in rows) == pytest.approx(psi(pair))


def test_a_baseline_without_the_column_fails(project: Path) -> None:
    assert outcome(project, "legs_unknown") == ("fail", [(None,) * 5])
