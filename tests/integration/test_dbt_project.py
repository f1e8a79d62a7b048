"""The demo project: what it promises in its annotations, and that its numbers are those of the flights."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from tests.integration.conftest import REPOSITORY, DbtCall

SOURCE = REPOSITORY / "dbt_project"
VIEWS = {
    "plane_legs": 327_346,
    "carrier_punctuality_7d": 588_704,
    "airport_recent_3h": 495_915,
    "airport_hour_28d": 612_787,
    "airport_weather": 26_115,
    "plane_facts": 3_322,
}


def test_the_data_is_small_and_says_where_it_is_from() -> None:
    files = list((SOURCE / "data").glob("*.parquet"))
    assert len(files) == 5
    assert sum(path.stat().st_size for path in files) < 12_000_000
    provenance = (SOURCE / "data/README.md").read_text()
    assert "Provenance" in provenance
    assert "CC0" in provenance


@pytest.fixture(scope="module")
def manifest(demo_project: Path) -> dict[str, Any]:
    return json.loads((demo_project / "target/manifest.json").read_text())


@pytest.fixture
def database(demo_project: Path) -> Any:
    """A connection for one test only: while it is open, dbt can't write."""
    with duckdb.connect(str(demo_project / "featurelayer_demo.duckdb"), read_only=True) as connection:
        connection.execute("set enable_progress_bar = false")
        yield connection


def model(manifest: dict[str, Any], name: str) -> dict[str, Any]:
    return manifest["nodes"][f"model.featurelayer_demo.{name}"]


pytestmark = pytest.mark.slow


def test_the_build_is_green(demo_project: Path) -> None:
    results = json.loads((demo_project / "target/run_results.json").read_text())
    assert {result["status"] for result in results["results"]} <= {"success", "pass", "no-op"}


def test_the_annotated_models_are_the_views(manifest: dict[str, Any]) -> None:
    nodes = manifest["nodes"].values()
    assert {node["name"] for node in nodes if "featurelayer" in node["config"].get("meta", {})} == set(VIEWS)
    declared = set(yaml.safe_load((SOURCE / "featurelayer.yml").read_text())["entities"])
    assert {model(manifest, view)["config"]["meta"]["featurelayer"]["entity"] for view in VIEWS} == declared


@pytest.mark.parametrize("name", [*VIEWS, "late_arrival_labels"])
def test_a_model_keeps_its_promises(manifest: dict[str, Any], name: str) -> None:
    node = model(manifest, name)
    assert node["contract"]["enforced"]
    assert node["description"]
    owner = manifest["groups"][f"group.featurelayer_demo.{node['config']['group']}"]["owner"]
    assert owner["name"]
    assert owner["email"].endswith("@example.com")
    for column in node["columns"].values():
        assert column["description"], column["name"]
        assert column["data_type"], column["name"]
    if name in VIEWS:
        block = node["config"]["meta"]["featurelayer"]
        assert block["online"] is True
        assert block["update_frequency"]
        if not block.get("static"):
            assert node["config"]["event_time"] in node["columns"]
            assert block["ttl"]
            assert block["freshness"]["error_after"]


def test_every_kind_of_value_is_among_the_features(manifest: dict[str, Any]) -> None:
    columns = [column for view in VIEWS for column in model(manifest, view)["columns"].values()]
    assert {column["data_type"].partition("(")[0] for column in columns} == {
        "varchar",
        "integer",
        "bigint",
        "double precision",
        "decimal",
        "boolean",
        "timestamp",
    }


def test_the_services_depend_on_the_views_they_name(manifest: dict[str, Any]) -> None:
    services = {exposure["name"]: exposure for exposure in manifest["exposures"].values()}
    assert set(services) == {"late_arrival", "flight_weather"}
    for service, views in (("late_arrival", set(VIEWS)), ("flight_weather", {"airport_weather"})):
        exposure = services[service]
        assert exposure["type"] == "ml"
        assert {node.rpartition(".")[2] for node in exposure["depends_on"]["nodes"]} == views
        items = exposure["config"]["meta"]["featurelayer"]["features"]
        assert {item["view"] if isinstance(item, dict) else item.partition(".")[0] for item in items} == views
    roles = services["flight_weather"]["config"]["meta"]["featurelayer"]["features"]
    assert [(item["role"], item["keys"]) for item in roles] == [
        ("origin", {"airport": "origin"}),
        ("destination", {"airport": "dest"}),
    ]


def test_there_are_two_unit_tests_and_documented_sources(manifest: dict[str, Any]) -> None:
    assert len(manifest["unit_tests"]) == 2
    for source in manifest["sources"].values():
        assert source["description"]
        assert all(column["description"] for column in source["columns"].values())


@pytest.mark.parametrize(("view", "rows"), VIEWS.items())
def test_the_views_have_the_rows_of_the_year(database: Any, view: str, rows: int) -> None:
    assert database.execute(f"select count(*) from {view}").fetchone() == (rows,)


def test_the_quirks_of_the_data_are_kept(database: Any) -> None:
    tie = "select count(*), count(distinct flight_id) from plane_legs group by tailnum, landed_at having count(*) > 1"
    assert database.execute(tie).fetchall() == [(2, 2)]
    glitch = "select airport, round(wind_speed, 2) from airport_weather where wind_speed > 250"
    assert database.execute(glitch).fetchall() == [("EWR", 1048.36)]
    an_hour_later = "select count(*) from airport_weather where available_at = observed_at + interval 1 hour"
    assert database.execute(an_hour_later).fetchone() == (26_115,)


def test_a_label_is_a_flight_and_is_predicted_two_hours_ahead(database: Any) -> None:
    found = database.execute("""
        select
            count(*), count(distinct flight_id), round(avg(is_late::int), 3),
            min(scheduled_at - predicted_at), max(scheduled_at - predicted_at)
        from late_arrival_labels
    """).fetchone()
    assert found[:3] == (327_346, 327_346, 0.245)
    assert {str(span) for span in found[3:]} == {"2:00:00"}


@dataclass(frozen=True, slots=True)
class Window:
    """A rolling view, and the same window over the flights themselves. `l` is the label."""

    view: str
    view_keys: str
    keys: str
    time: str
    width: str
    delay: str
    count: str


WINDOWS = [
    Window(
        "carrier_punctuality_7d",
        "carrier = l.carrier",
        "carrier = l.carrier",
        "landed_at",
        "7 days",
        "arr_delay",
        "flights",
    ),
    Window(
        "airport_recent_3h",
        "airport = l.origin",
        "origin = l.origin",
        "departed_at",
        "3 hours",
        "dep_delay",
        "departures",
    ),
    Window(
        "airport_hour_28d",
        "airport = l.origin and hour = l.hour",
        "origin = l.origin and scheduled_hour = l.hour",
        "landed_at",
        "28 days",
        "arr_delay",
        "flights",
    ),
]


@pytest.mark.parametrize("window", WINDOWS, ids=lambda window: window.view)
def test_what_a_label_reads_is_the_window_up_to_a_minute_before_it(database: Any, window: Window) -> None:
    """The newest row a minute old (`delay`) against the flights themselves, for three hundred labels."""
    _flights(database)
    rows = database.execute(f"""
        with l as (
            select *, predicted_at - interval 1 minute as known_until
            from late_arrival_labels where hash(flight_id) % 1000 = 0 order by flight_id limit 300
        )
        select
            l.flight_id,
            (select max_by(({window.count}, late_share, {window.delay}_mean), measured_at) from {window.view}
             where {window.view_keys} and measured_at <= l.known_until),
            (select (count(*), avg(({window.delay} >= 15)::int), avg({window.delay})) from flights_of_test
             where {window.keys} and {window.time} <= l.known_until
                and {window.time} > l.known_until - interval {window.width})
        from l
    """).fetchall()
    assert len(rows) == 300
    for flight, read, counted in rows:
        if read is None:
            assert _values(counted)[0] == 0, flight
        else:
            assert _values(read) == pytest.approx(_values(counted), nan_ok=True), flight


def _flights(database: Any) -> None:
    """Read the parquet file anew: the project's own staging views are not what this checks."""
    flights = f"read_parquet('{SOURCE / 'data/flights.parquet'}')"
    database.execute(f"""
        create or replace temp table flights_of_test as
        select carrier, origin, extract(hour from sched_dep_local) as scheduled_hour, dep_delay, arr_delay,
            dep_utc as departed_at, case when arr_delay is not null then arr_utc end as landed_at
        from {flights}
    """)


def _values(row: Any) -> list[Any]:
    values = row.values() if isinstance(row, dict) else row
    return [float("nan") if value is None else float(value) for value in values]


def test_dbt_works_from_any_directory(dbt: DbtCall, demo_project: Path, tmp_path: Path) -> None:
    before = (demo_project / "target/manifest.json").read_bytes()
    target = tmp_path / "target"
    dbt(demo_project, "build", "-s", "plane_facts", "--target-path", str(target), cwd=tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name != "target"] == []
    assert (demo_project / "target/manifest.json").read_bytes() == before


def test_the_data_and_the_database_can_live_elsewhere(dbt: DbtCall, demo_project: Path, tmp_path: Path) -> None:
    places = {
        "FEATURELAYER_DEMO_DB": str(tmp_path / "featurelayer_demo.duckdb"),
        "FEATURELAYER_DEMO_DATA": str(tmp_path / "copies"),
    }
    shutil.copytree(SOURCE / "data", tmp_path / "copies")
    dbt(demo_project, "run", "-s", "airport_weather", "--target-path", str(tmp_path / "target"), cwd=tmp_path, **places)
    with duckdb.connect(str(tmp_path / "featurelayer_demo.duckdb"), read_only=True) as connection:
        assert connection.execute("select count(*) from airport_weather").fetchone() == (26_115,)


def test_parsing_warns_of_nothing(dbt: DbtCall, demo_project: Path, tmp_path: Path) -> None:
    strictly = ("--no-partial-parse", "--show-all-deprecations", "--warn-error")
    dbt(demo_project, "parse", *strictly, "--target-path", str(tmp_path), cwd=tmp_path)
