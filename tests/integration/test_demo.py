"""The demo: its folder, which belongs to a person, and what it finds on the real flights."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from featurelayer import demo
from featurelayer.errors import ConfigError, FeatureLayerError, MissingDependency
from featurelayer.layer import FeatureLayer


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins for the two bundled folders, with what dbt leaves behind in one of them; returns where they are."""
    sources = tmp_path / "sources"
    for name in (
        "macros/dbt_project.yml",
        "macros/a/one.sql",
        "dbt_project/dbt_project.yml",
        "dbt_project/data/x.parquet",
    ):
        write(sources / name, name)
    for name in (
        "data/pyproject.toml",
        "target/manifest.json",
        "logs/dbt.log",
        "x.duckdb",
        ".user.yml",
        ".featurelayer/online.db",
    ):
        write(sources / "dbt_project" / name, "left by a run")
    monkeypatch.setattr(demo, "find_bundled", lambda part: sources / part)
    return sources


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


COPIED = {"macros/dbt_project.yml", "macros/a/one.sql", "dbt_project/dbt_project.yml", "dbt_project/data/x.parquet"}


@pytest.mark.parametrize("exists", [False, True])
def test_a_new_or_empty_folder_gets_both_projects_and_nothing_left_by_dbt(
    small: Path, tmp_path: Path, exists: bool
) -> None:
    if exists:
        (tmp_path / "demo").mkdir()
    folder = demo.prepare(tmp_path / "demo")
    assert files(folder) == COPIED | {demo.MARKER}
    assert (folder / "macros/a/one.sql").read_text() == "macros/a/one.sql"


def test_an_earlier_demo_is_brought_up_to_date_and_what_a_person_added_stays(small: Path, tmp_path: Path) -> None:
    folder = demo.prepare(tmp_path / "demo")
    write(folder / "dbt_project/models/mine.sql", "select 1")
    write(folder / "dbt_project/target/manifest.json", "{}")
    (folder / "dbt_project/data/x.parquet").unlink()
    write(small / "macros/a/one.sql", "newer")
    write(small / "macros/a/two.sql", "new")
    shutil.move(small / "macros/dbt_project.yml", small / "macros/renamed.yml")
    demo.prepare(folder)
    kept = {demo.MARKER, "dbt_project/models/mine.sql", "dbt_project/target/manifest.json"}
    renamed = {"macros/renamed.yml", "macros/a/two.sql"}
    assert files(folder) == COPIED - {"macros/dbt_project.yml"} | renamed | kept
    assert (folder / "macros/a/one.sql").read_text() == "newer"


def test_an_edited_file_is_never_overwritten(small: Path, tmp_path: Path) -> None:
    folder = demo.prepare(tmp_path / "demo")
    for name in ("macros/a/one.sql", "dbt_project/data/x.parquet"):
        write(folder / name, "mine")
    write(small / "macros/dbt_project.yml", "newer")
    with pytest.raises(ConfigError, match="pass keep to run it") as caught:
        demo.prepare(folder)
    assert {problem.where for problem in caught.value.problems} == {
        str(folder / "dbt_project/data/x.parquet"),
        str(folder / "macros/a/one.sql"),
    }
    assert demo.prepare(folder, keep=True) == folder
    assert (folder / "macros/a/one.sql").read_text() == "mine"
    assert (folder / "macros/dbt_project.yml").read_text() == "macros/dbt_project.yml"


@pytest.mark.parametrize("keep", [False, True])
def test_a_folder_of_something_else_is_refused_and_left_alone(small: Path, tmp_path: Path, keep: bool) -> None:
    write(tmp_path / "work/thesis.txt", "years of work")
    with pytest.raises(ConfigError, match="earlier demo"):
        demo.prepare(tmp_path / "work", keep=keep)
    with pytest.raises(ConfigError, match="earlier demo"):
        demo.prepare(tmp_path / "work/thesis.txt", keep=keep)
    assert files(tmp_path / "work") == {"thesis.txt"}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"files": 3}', '{"other": {}}'])
def test_a_spoilt_marker_is_refused(small: Path, tmp_path: Path, text: str) -> None:
    write(tmp_path / "demo" / demo.MARKER, text)
    with pytest.raises(ConfigError, match="can't be read"):
        demo.prepare(tmp_path / "demo")
    assert files(tmp_path / "demo") == {demo.MARKER}


def test_a_missing_package_is_named_before_anything_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_NEEDED", (("no_such_package.at_all", "scikit-learn"),))
    with pytest.raises(MissingDependency, match=r"scikit-learn is not installed\n.*dbt-featurelayer\[demo\]"):
        demo.check_installed()


def test_without_its_data_nothing_is_written(small: Path, tmp_path: Path) -> None:
    (small / "dbt_project/data/x.parquet").unlink()
    missing = r"dbt-featurelayer-demo-data is not installed\n.*pip install 'dbt-featurelayer\[demo\]'"
    for act in (demo.check_installed, lambda: demo.prepare(tmp_path / "demo")):
        with pytest.raises(MissingDependency, match=missing):
            act()
    assert not (tmp_path / "demo").exists()


def test_the_data_comes_from_its_distribution_where_there_is_no_checkout(small: Path, tmp_path: Path, monkeypatch):
    shutil.rmtree(small / "dbt_project/data")
    write(tmp_path / "site/featurelayer_demo_data/x.parquet", "dbt_project/data/x.parquet")
    monkeypatch.syspath_prepend(tmp_path / "site")
    demo.check_installed()
    assert files(demo.prepare(tmp_path / "demo")) == COPIED | {demo.MARKER}


@pytest.mark.slow
def test_what_dbt_said_last_is_in_the_error(tmp_path: Path) -> None:
    write(tmp_path / "dbt_project/dbt_project.yml", "name: [")
    with pytest.raises(FeatureLayerError, match=r"dbt deps failed in (?s:.*)Syntax error near line 2") as caught:
        demo.build(tmp_path)
    assert "\x1b" not in str(caught.value)


@pytest.fixture(scope="module")
def layer(demo_project: Path) -> FeatureLayer:
    return demo.open_layer(demo_project.parent)


@pytest.fixture(scope="module")
def training_file(layer: FeatureLayer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, report = demo.build_training_file(layer, tmp_path_factory.mktemp("demo"))
    assert report.rows == 327_346
    assert path.with_suffix(".lock.json").is_file()
    return path


@pytest.mark.slow
def test_the_flights_of_the_moment_are_served_what_they_were_trained_on(
    layer: FeatureLayer, training_file: Path
) -> None:
    found = demo.look_up(layer, training_file)
    assert len(found.vectors) == len(found.requests) == 14
    assert found.equal == found.values == 14 * 37
    statuses = [str(feature.status) for vector in found.vectors for feature in vector.features.values()]
    assert statuses.count("present") > 0.6 * len(statuses)
    assert all(vector.features["carrier_punctuality_7d__late_share"].status == "present" for vector in found.vectors)
    ages = [feature.age for vector in found.vectors for feature in vector.features.values() if feature.age is not None]
    assert min(ages) >= timedelta(minutes=1)


@pytest.mark.slow
def test_the_leak_shines_offline_and_fails_live(layer: FeatureLayer, training_file: Path) -> None:
    found = demo.compare(layer, training_file)
    assert found.trained + found.tested == 327_346
    leaky, honest = found.leaky, found.point_in_time
    assert leaky.offline > 0.95
    assert leaky.offline > honest.offline + 0.2
    assert leaky.live < honest.live - 0.05
    assert leaky.live < found.timetable.live < found.corrected.live < honest.live
    assert all(score.offline == score.live for score in found.scores if score is not leaky)


@pytest.mark.slow
def test_the_two_kinds_of_means_are_those_of_a_plain_loop(layer: FeatureLayer, demo_project: Path) -> None:
    whole_day, so_far = demo.same_day_means(layer)
    with duckdb.connect(str(demo_project / "featurelayer_demo.duckdb"), read_only=True) as database:
        rows = database.execute("""
            select flight_id, l.carrier, l.origin, l.tailnum, predicted_at, scheduled_at, landed_at, p.arr_delay
            from late_arrival_labels as l join plane_legs as p using (flight_id)
        """).fetchall()
    assert list(whole_day["flight_id"]) == list(so_far["flight_id"]) == sorted(row[0] for row in rows)
    days: dict[tuple[str, object, str], list[tuple[object, int]]] = {}
    for _, *keys, _, scheduled_at, landed_at, delay in rows:
        for name, key in zip(("carrier", "origin", "plane"), keys, strict=True):
            day = (scheduled_at - timedelta(hours=5)).date()
            days.setdefault((name, day, key), []).append((landed_at + timedelta(minutes=1), delay))
    by_flight = {row[0]: row for row in rows}
    tables = whole_day.set_index("flight_id"), so_far.set_index("flight_id")
    for flight_id in sorted(by_flight)[::2500]:
        _, *keys, predicted_at, scheduled_at, _, _ = by_flight[flight_id]
        for name, key in zip(("carrier", "origin", "plane"), keys, strict=True):
            landings = days[name, (scheduled_at - timedelta(hours=5)).date(), key]
            everything = [delay for _, delay in landings]
            known = [delay for known_at, delay in landings if known_at <= predicted_at]
            column = f"{name}_delay_today"
            assert tables[0].loc[flight_id, column] == pytest.approx(sum(everything) / len(everything))
            served = tables[1].loc[flight_id, column]
            assert pd.isna(served) if not known else served == pytest.approx(sum(known) / len(known))
