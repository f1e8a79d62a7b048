"""Monitors on a small project: quiet on rows that are as always, and each says what is wrong where something is."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import duckdb
import pyarrow as pa
import pytest
import yaml

from featurelayer.cli import main
from featurelayer.errors import ConfigError, LockError, MetadataError, MissingDependency, PlanError, UnknownNameError
from featurelayer.layer import FeatureLayer
from featurelayer.monitor import MonitorReport
from featurelayer.monitor_records import MonitorResult, MonitorStatus, ProfileScope
from featurelayer.online import MemoryStore
from tests.unit import dbt_projects as made
from tests.unit import warehouses

pytestmark = pytest.mark.slow

AT = datetime(2024, 3, 1, 6, tzinfo=UTC)  # a Friday; the newest complete day is Thursday, February 29
# 720 legs a day in January and February, and until AT: delays from -30 to 29 evenly, three carriers,
# a tenth of the gusts missing.
LEGS = """
CREATE TABLE legs AS SELECT
  'N' || (i % 50) AS tailnum,
  TIMESTAMP '2024-01-01' + INTERVAL (i * 2) MINUTE AS landed_at,
  CAST((i * 7) % 60 - 30 AS DOUBLE) AS arr_delay,
  CASE WHEN i % 10 = 3 THEN NULL ELSE (i * 11) % 40 END::INTEGER AS gust,
  CASE i % 3 WHEN 0 THEN 'UA' WHEN 1 THEN 'DL' ELSE 'B6' END AS carrier,
  i % 4 = 0 AS late
FROM range(720 * 60 + 180) t(i);
"""
LAST = "landed_at >= TIMESTAMP '2024-02-29' AND landed_at < TIMESTAMP '2024-03-01'"
FRESH = {"warn_after": {"count": 2, "period": "hour"}, "error_after": {"count": 8, "period": "hour"}}


def columns(**monitors: Any) -> dict[str, Any]:
    return {
        "arr_delay": made.column("double", range=[-60, 60], monitors=monitors.get("arr_delay", {})),
        "gust": made.column("integer", default=0, monitors=monitors.get("gust", {})),
        "carrier": made.column("varchar", monitors=monitors.get("carrier", {})),
        "late": made.column("boolean"),
    }


def layer(
    root: Path, change: str = "", *, monitors: Any = None, features: Any = None, project: Any = None, **more: Any
) -> FeatureLayer:
    """The project with its rows changed by this SQL; `monitors` are the view's."""
    node = made.model(columns=columns(**(features or {})), monitors=monitors or {}, freshness=FRESH, **more)
    config = yaml.safe_dump(
        {
            "entities": made.ENTITIES,
            "monitors": project or {},
            "online_store": {"dev": {"type": "sqlite", "path": "o.db"}},
        }
    )
    return _layer(root, node, change, config)


def _layer(root: Path, node: dict[str, Any], change: str, config: str, **manifest: Any) -> FeatureLayer:
    service = made.exposure("legs.*", label_timestamp="at")
    made.project(root, made.manifest(node, exposures=(service,), **manifest), config=config)
    (root / "profiles.yml").write_text(warehouses.PROFILES)
    with duckdb.connect(str(root / "db.duckdb")) as connection:
        connection.execute(LEGS + change)
    return FeatureLayer(root, profiles_dir=root)


def plain(name: str, **more: Any) -> dict[str, Any]:
    """A model that is no view."""
    return {**made.model(name), "config": {"meta": {}}, "columns": {}, **more}


def run(layer: FeatureLayer, at: datetime = AT, **more: Any) -> MonitorReport:
    return layer.monitor(as_of=at, record=False, **more)


def bad(report: MonitorReport) -> list[tuple[str, str, str]]:
    found = [*report.with_status(MonitorStatus.ERROR), *report.with_status(MonitorStatus.WARN)]
    return [(str(result.status), result.feature, result.monitor) for result in found]


def only(report: MonitorReport, monitor: str, feature: str = "") -> MonitorResult:
    (found,) = [result for result in report.results if (result.monitor, result.feature) == (monitor, feature)]
    return found


def test_rows_that_are_as_always_pass(tmp_path: Path) -> None:
    report = run(layer(tmp_path))
    assert bad(report) == []
    assert {result.monitor for result in report.with_status(MonitorStatus.PASS)} == {
        "freshness", "new_categories", "null_rate", "null_rate_change", "out_of_range", "psi", "unusable",
        "vanished_categories", "volume", "default_rate",
    }  # fmt: skip
    psi = only(report, "psi", "arr_delay")
    assert psi.baseline == "2024-02-01 to 2024-02-22, same weekday"
    assert (psi.start, psi.end) == (datetime(2024, 2, 29, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC))
    assert psi.value is not None
    assert psi.value < 0.01
    assert only(report, "volume").meaning == "720 rows in 2024-02-29, 720 in a period of the baseline (100%)"


PROBLEMS = [
    (f"UPDATE legs SET gust = NULL WHERE {LAST}", "error", "gust", "null_rate", "100.0% of 720 rows of 2024-02-29"),
    (f"UPDATE legs SET gust = NULL WHERE {LAST} AND late", "warn", "gust", "null_rate_change", "10.0% of the baseline"),
    (f"UPDATE legs SET gust = 0 WHERE {LAST} AND minute(landed_at) > 3", "warn", "gust", "default_rate", "default 0"),
    (f"UPDATE legs SET arr_delay = 1048 WHERE {LAST} AND hour(landed_at) = 3 AND minute(landed_at) = 2", "warn",
     "arr_delay", "out_of_range", "1 of 720 values of 2024-02-29 (0.14%) are outside of -60 to 60; they go"),
    (f"UPDATE legs SET arr_delay = 61 WHERE {LAST} AND hour(landed_at) = 3", "error", "arr_delay", "out_of_range",
     "30 of"),
    (f"UPDATE legs SET arr_delay = 'nan' WHERE {LAST} AND hour(landed_at) = 3 AND minute(landed_at) = 2", "warn",
     "arr_delay", "unusable", "1 of 720 values"),
    (f"UPDATE legs SET carrier = 'X<&>' WHERE {LAST} AND hour(landed_at) = 3", "warn", "carrier", "new_categories",
     "1 category is new, in 4.2% of the rows of 2024-02-29: 'X<&>'"),
    (f"UPDATE legs SET carrier = 'UA' WHERE {LAST} AND carrier = 'B6'", "warn", "carrier", "vanished_categories",
     "1 category is missing, in 33.3% of the rows of the baseline: 'B6'"),
    (f"DELETE FROM legs WHERE {LAST}", "error", "", "volume", "0 rows in 2024-02-29, 720 in a period"),
    (f"INSERT INTO legs SELECT l.* FROM legs l, range(2) WHERE {LAST}", "warn", "", "volume", "2,160 rows"),
    (f"UPDATE legs SET arr_delay = arr_delay / 3 + 15 WHERE {LAST}", "warn", "arr_delay", "psi", "mean -0.5"),
    (f"UPDATE legs SET late = NOT late WHERE {LAST}", "warn", "late", "psi", "'true' was 25.0% of the baseline"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "status", "feature", "monitor", "said"), PROBLEMS, ids=[f"{p[2]}-{p[3]}" for p in PROBLEMS]
)
def test_each_problem_is_found_and_told(
    tmp_path: Path, change: str, status: str, feature: str, monitor: str, said: str
) -> None:
    report = run(layer(tmp_path, change))
    found = only(report, monitor, feature)
    assert (str(found.status), found.view) == (status, "legs")
    assert said in found.meaning
    assert found.threshold is not None
    assert report.failed == (status == "error")


def test_the_age_of_the_view_is_judged_as_dbt_judges_sources(tmp_path: Path) -> None:
    found = layer(tmp_path)
    newest = datetime(2024, 3, 1, 5, 58, tzinfo=UTC)
    for hours, status in (
        (2, MonitorStatus.PASS),
        (2.01, MonitorStatus.WARN),
        (8, MonitorStatus.WARN),
        (8.01, MonitorStatus.ERROR),
    ):
        result = only(run(found, newest + timedelta(hours=hours)), "freshness")
        assert result.status is status, hours
        assert result.value == pytest.approx(hours)
    assert "is 8 h 1 min old, of 2024-03-01 05:58; 8 h are allowed" in result.meaning
    # Rows that are still to come are not news.
    ahead = layer(tmp_path / "ahead", "INSERT INTO legs (landed_at) VALUES ('2099-01-01');")
    assert only(run(ahead, newest + timedelta(hours=1)), "freshness").value == 1


def test_a_feature_has_the_last_word_and_the_view_the_second(tmp_path: Path) -> None:
    change = f"UPDATE legs SET gust = NULL, arr_delay = NULL, carrier = NULL WHERE {LAST} AND late;"
    loud, silent = {"null_rate": {"warn": 0.2}}, {"null_rate": False, "null_rate_change": False}
    report = run(layer(tmp_path, change, project=loud, features={"gust": silent, "carrier": {"enabled": False}}))
    assert ("warn", "arr_delay", "null_rate") in bad(report)
    assert {result.feature for result in report.results} == {"", "arr_delay", "gust", "late"}
    assert {monitor for _, feature, monitor in bad(report) if feature == "gust"} <= {"psi"}
    report = run(layer(tmp_path / "view", change, project=loud, monitors={"null_rate": {"error": 0.2}, "psi": 5}))
    assert ("error", "arr_delay", "null_rate") in bad(report)
    assert only(report, "psi", "gust").error == 5
    assert run(layer(tmp_path / "off", change, monitors={"enabled": False})).results == ()


def test_all_distances_and_the_least_number_of_rows(tmp_path: Path) -> None:
    every = {name: {"error": 0.2} for name in ("psi", "jensen_shannon", "kolmogorov_smirnov", "wasserstein")}
    change = f"UPDATE legs SET arr_delay = arr_delay + 20 WHERE {LAST};"
    report = run(layer(tmp_path, change, monitors=every))
    assert {monitor for _, feature, monitor in bad(report) if feature == "arr_delay"} >= set(every)
    # 20 minutes are 1.155 of the standard deviations of an even spread over an hour.
    assert only(report, "wasserstein", "arr_delay").value == pytest.approx(1.155, abs=0.03)
    assert only(report, "kolmogorov_smirnov", "arr_delay").value == pytest.approx(1 / 3, abs=0.02)
    assert not [r for r in report.results if r.monitor == "wasserstein" and r.feature == "carrier"]
    few = run(layer(tmp_path / "few", change, monitors={**every, "minimum_rows": 721}))
    skipped = only(few, "wasserstein", "arr_delay")
    assert skipped.status is MonitorStatus.SKIPPED
    assert skipped.meaning == "720 values in 2024-02-29 and 2,880 in the baseline; 721 are needed"


def test_a_weekly_rhythm_is_no_drift_when_weekdays_are_compared(tmp_path: Path) -> None:
    change = "UPDATE legs SET arr_delay = arr_delay + 40 WHERE dayofweek(landed_at) = 4;"
    assert [each for each in bad(run(layer(tmp_path, change))) if each[2] == "psi"] == []
    plain = {"baseline": "previous"}
    report = run(layer(tmp_path / "plain", change, monitors=plain))
    assert ("warn", "arr_delay", "psi") in bad(report)
    assert only(report, "psi", "arr_delay").baseline == "2024-02-28"


def test_hours_are_compared_with_the_same_hour_and_a_fixed_time_with_its_weekdays(tmp_path: Path) -> None:
    rhythm = "UPDATE legs SET arr_delay = hour(landed_at) * 2 + arr_delay / 60;"
    report = run(layer(tmp_path, rhythm, monitors={"period": "hour", "minimum_rows": 20, "psi": {"warn": 2}}))
    assert [each for each in bad(report) if each[2] == "psi" and each[1] == "arr_delay"] == []
    fixed = {"start": "2024-01-01", "end": "2024-02-01", "same": "weekday"}
    thursdays = "UPDATE legs SET arr_delay = arr_delay + 40 WHERE dayofweek(landed_at) = 4;"
    report = run(layer(tmp_path / "fixed", thursdays, monitors={"baseline": fixed}))
    psi = only(report, "psi", "arr_delay")
    assert (psi.status, psi.baseline) == (MonitorStatus.PASS, "2024-01-01 to 2024-02-01")
    assert only(report, "volume").value == 1
    friday = {"start": "2024-01-05", "end": "2024-01-06", "same": "weekday"}
    psi = only(run(layer(tmp_path / "none", monitors={"baseline": friday})), "psi", "arr_delay")
    assert (psi.status, psi.meaning) == (
        MonitorStatus.SKIPPED,
        "the baseline has no period of the same hour or weekday",
    )


def labels() -> pa.Table:
    times = [datetime(2024, 1, 2) + timedelta(minutes=30 * n) for n in range(1200)]
    return pa.table({"tailnum": [f"N{n % 50}" for n in range(1200)], "at": pa.array(times, pa.timestamp("us"))})


def test_a_training_set_is_a_baseline_by_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = layer(tmp_path, f"UPDATE legs SET arr_delay = arr_delay + 40 WHERE {LAST};")
    with found.build_training_set("late", labels()) as training:
        training.to_parquet(tmp_path / "train.parquet")
    lock = tmp_path / "train.lock.json"
    monkeypatch.chdir(tmp_path)
    psi = only(run(found, baseline="train.lock.json"), "psi", "arr_delay")
    assert (psi.status, psi.baseline) == (MonitorStatus.WARN, "training set train.lock.json")
    assert only(run(found, baseline=lock), "psi", "carrier").status is MonitorStatus.PASS
    by_yaml = layer(tmp_path / "yaml", monitors={"baseline": {"lock": "../train.lock.json"}})
    assert only(run(by_yaml), "psi", "gust").baseline == "training set train.lock.json"

    with found.build_training_set(features=["legs.gust"], label_timestamp="at", labels=labels()) as training:
        training.to_parquet(tmp_path / "gust.parquet")
    lacking = only(run(found, baseline="gust.lock.json"), "psi", "arr_delay")
    assert lacking.status is MonitorStatus.SKIPPED
    assert lacking.meaning == "training set gust.lock.json does not have this feature"
    (tmp_path / "gust.parquet").unlink()
    with pytest.raises(LockError, match=r"gust\.parquet of gust\.lock\.json does not exist"):
        run(found, baseline="gust.lock.json")
    lock.write_text("{}")
    with pytest.raises(LockError):
        run(found, baseline=lock)


def test_a_static_view_is_compared_with_the_run_before(tmp_path: Path) -> None:
    node = made.model("facts", static=True, config={"event_time": None}, columns={"seats": made.column("integer")},
                      drop=("landed_at", "arr_delay"))  # fmt: skip
    sql = "CREATE TABLE facts AS SELECT 'N' || i AS tailnum, (i % 200)::INTEGER AS seats FROM range(2000) t(i)"
    service = made.exposure("facts.seats", depends_on=("model.shop.facts",))
    found = warehouses.layer(tmp_path, node, exposures=(service,), sql=sql)
    first = found.monitor()
    assert only(first, "psi", "seats").meaning == "there is no earlier run to compare with"
    with duckdb.connect(str(tmp_path / "db.duckdb")) as connection:
        connection.execute("UPDATE facts SET seats = seats / 4; DELETE FROM facts WHERE seats < 5")
    second = found.monitor()
    psi, volume = only(second, "psi", "seats"), only(second, "volume")
    assert psi.status is MonitorStatus.WARN
    assert psi.baseline.startswith("the run of ")
    assert volume.value == pytest.approx(1800 / 2000, abs=0.01)
    assert next(profile.rows for profile in found.profiles("facts")) == 2000


def test_what_a_run_saw_is_kept_once_per_period(tmp_path: Path) -> None:
    found = layer(tmp_path, monitors={"history": 3, "baseline": "previous"}, online=True)
    report = found.monitor(as_of=AT)
    again = found.monitor(as_of=AT)
    kept = found.profiles()
    periods = {
        (profile.feature, profile.start, profile.end) for profile in kept if profile.scope is ProfileScope.PERIOD
    }
    assert len(periods) == len([p for p in kept if p.scope is ProfileScope.PERIOD]) == 4 * 4
    assert {profile.scope for profile in kept} == set(ProfileScope)
    assert {p.rows for p in kept if p.scope is ProfileScope.SNAPSHOT} == {50}
    assert {result.run for result in found.monitor_results()} == {report.run, again.run}
    assert len(found.monitor_results("legs")) == len(report.results) + len(again.results)
    newest = max(
        kept, key=lambda profile: (profile.scope is ProfileScope.PERIOD, profile.end, profile.feature == "arr_delay")
    )
    assert (newest.rows, newest.minimum, newest.maximum, newest.mean) == (720, -30, 29, -0.5)


def test_what_is_served_has_the_age_of_its_newest_row(tmp_path: Path) -> None:
    found = layer(tmp_path, online=True)
    none = only(run(found), "online_freshness")
    assert none.status is MonitorStatus.SKIPPED
    found.export(as_of=datetime(2024, 2, 29, 12, tzinfo=UTC), ignore_monitors=True)
    served = only(run(found), "online_freshness")
    assert (served.status, served.value) == (MonitorStatus.ERROR, 18)
    assert "the newest row of the online store is 18 h old" in served.meaning


def test_sources_are_judged_by_their_own_limits(tmp_path: Path) -> None:
    limits = {"warn_after": {"count": 1, "period": "hour"}, "error_after": {"count": None, "period": None}}
    names = {"raw": ("loaded", limits), "gone": ("loaded", limits), "vague": (None, limits), "free": ("loaded", {})}
    sources = {
        f"source.shop.s.{name}": {
            "unique_id": f"source.shop.s.{name}", "name": name, "source_name": "s", "resource_type": "source",
            "relation_name": f'"db"."main"."{name}"', "loaded_at_field": field, "freshness": freshness,
        }
        for name, (field, freshness) in names.items()
    }  # fmt: skip
    parent = plain("stg", depends_on={"nodes": list(sources)})
    node = made.model(columns=columns(), node={"depends_on": {"nodes": [parent["unique_id"]]}})
    change = "CREATE TABLE raw AS SELECT TIMESTAMPTZ '2024-03-01 04:00+00' AS loaded;"
    service = made.exposure("legs.*", label_timestamp="at")
    made.project(tmp_path, made.manifest(node, parent, exposures=(service,), sources=sources))
    (tmp_path / "profiles.yml").write_text(warehouses.PROFILES)
    with duckdb.connect(str(tmp_path / "db.duckdb")) as connection:
        connection.execute(LEGS + change)
    found = [r for r in run(FeatureLayer(tmp_path, profiles_dir=tmp_path)).results if r.monitor == "source_freshness"]
    told = {result.meaning.partition(":")[0]: str(result.status) for result in found}
    assert told == {
        "the newest row of source s.raw is 2 h old, of 2024-03-01 04": "warn",
        "source s.gone can't be read": "skipped",
        "source s.vague has freshness limits but no loaded_at_field": "skipped",
    }


def test_coverage_is_the_share_of_the_population_with_a_row_that_holds(tmp_path: Path) -> None:
    # At 06:00 the last ten minutes hold the legs of five planes, twelve hours those of all 50.
    said = {"coverage": {"warn": 0.9, "error": 0.5}}
    found = only(run(layer(tmp_path, monitors=said, ttl="10 minutes")), "coverage")
    assert (found.status, found.value) == (MonitorStatus.ERROR, 5 / 50)
    assert found.meaning == "5 of 50 keys in legs at any time (10.0%) have a valid row"
    assert only(run(layer(tmp_path / "long", monitors=said, ttl="12 hours")), "coverage").value == 1
    other = {**said, "population": "fleet"}
    fleet = plain("fleet")
    node = made.model(columns=columns(), monitors=other, ttl="12 hours")
    service = made.exposure("legs.*", label_timestamp="at")
    root = tmp_path / "fleet"
    made.project(root, made.manifest(node, fleet, exposures=(service,)))
    (root / "profiles.yml").write_text(warehouses.PROFILES)
    with duckdb.connect(str(root / "db.duckdb")) as connection:
        connection.execute(LEGS + "CREATE TABLE fleet AS SELECT 'N' || i AS tailnum FROM range(100) t(i);")
    found = only(run(FeatureLayer(root, profiles_dir=root)), "coverage")
    assert (found.status, found.meaning.split(" have")[0]) == (MonitorStatus.WARN, "50 of 100 keys in fleet (50.0%)")
    with pytest.raises(PlanError, match="its population 'nowhere' is not a built dbt model with the columns tailnum"):
        run(layer(tmp_path / "none", monitors={**said, "population": "nowhere"}))


BAD = [
    ("DELETE FROM legs;", {("error", "", "freshness")}),
    ("UPDATE legs SET arr_delay = NULL, gust = NULL, carrier = NULL, late = NULL;",
     {("error", name, "null_rate") for name in ("arr_delay", "gust", "carrier", "late")}),
    ("UPDATE legs SET arr_delay = 5, gust = 5, carrier = 'A', late = true;", set()),
    ("DELETE FROM legs WHERE landed_at <> '2024-02-29 23:58';", {("warn", "", "freshness")}),
    ("UPDATE legs SET arr_delay = 'inf';", {("warn", "arr_delay", "unusable")}),
    ("UPDATE legs SET landed_at = 'infinity' WHERE late;", set()),
    ("UPDATE legs SET landed_at = NULL WHERE late;", set()),
    ("UPDATE legs SET gust = 2147483647 WHERE late;", set()),
    ("UPDATE legs SET landed_at = landed_at + INTERVAL 100 YEARS;", {("error", "", "freshness")}),
]  # fmt: skip


@pytest.mark.parametrize(("change", "expected"), BAD, ids=[change[:45] for change, _ in BAD])
def test_odd_data_is_judged_and_breaks_nothing(
    tmp_path: Path, change: str, expected: set[tuple[str, str, str]]
) -> None:
    found = layer(tmp_path, change)
    report = found.monitor(as_of=AT)
    assert expected <= set(bad(report))
    assert expected or not report.failed or "volume" in {each[2] for each in bad(report)}
    json.dumps(report.to_dict(), allow_nan=False)
    assert found.monitor_results()


def test_what_is_asked_wrongly_is_said(tmp_path: Path) -> None:
    found = layer(tmp_path)
    with pytest.raises(UnknownNameError, match="did you mean 'legs'"):
        found.monitor(["leg"])
    with pytest.raises(PlanError, match="is in the future"):
        run(found, datetime.now(UTC) + timedelta(days=1))
    with pytest.raises(LockError):
        run(found, baseline=tmp_path / "nowhere.lock.json")
    wrong = {"null_rate": "much", "psi": {"warn": 2, "error": 1}, "baseline": {"lock": "x", "previous": 1}, "bins": 1}
    with pytest.raises(MetadataError) as caught:
        run(layer(tmp_path / "wrong", monitors=wrong, project={"volume": {"warn": 0.1, "error": 0.5}}))
    assert len(caught.value.problems) == 5
    with pytest.raises(PlanError, match="has no column gust, landed_at"):
        run(layer(tmp_path / "less", "ALTER TABLE legs DROP gust; ALTER TABLE legs DROP landed_at;"))
    with pytest.raises(PlanError, match="is not built"):
        run(layer(tmp_path / "gone", "DROP TABLE legs;"))


def test_without_scipy_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = layer(tmp_path)
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    with pytest.raises(MissingDependency, match=r"pip install 'dbt-featurelayer\[monitor\]'"):
        run(found)


# --- the command -----------------------------------------------------------------------------------------------------


def cli(capsys: pytest.CaptureFixture[str], root: Path, *arguments: str) -> tuple[int, str, str]:
    code = main(
        ["monitor", "--project-dir", str(root), "--profiles-dir", str(root), "--as-of", AT.isoformat(), *arguments]
    )
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_command_prints_what_is_wrong_and_ends_with_1_on_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layer(tmp_path)
    assert cli(capsys, tmp_path)[:2] == (0, "0 failed, 0 warned, 21 passed, 0 skipped in 1 view as of "
                                            "2024-03-01T06:00:00+00:00\n")  # fmt: skip
    layer(tmp_path / "bad", f"UPDATE legs SET gust = NULL WHERE {LAST};")
    code, out, _ = cli(capsys, tmp_path / "bad", "-s", "legs")
    assert code == 1
    line = next(line for line in out.splitlines() if line.startswith("error"))
    assert line.split("  ")[1].strip() == "legs.gust"
    assert "100.0% of 720 rows of 2024-02-29 are NULL" in line

    code, out, _ = cli(capsys, tmp_path / "bad", "--format", "json")
    document = json.loads(out)
    assert (code, document["counts"]["error"]) == (1, 1)
    (error,) = [result for result in document["results"] if result["status"] == "error"]
    assert {"metric": "null rate", "value": 1.0, "threshold": 0.99, "feature": "gust"}.items() <= error.items()

    code, out, _ = cli(capsys, tmp_path / "bad", "--format", "junit", "--no-record")
    (suite,) = ElementTree.fromstring(out)
    assert (suite.get("name"), suite.get("failures")) == ("legs", "1")
    (case,) = [case for case in suite if case.find("failure") is not None]
    assert (case.get("classname"), case.get("name")) == ("legs.gust", "null_rate")


@pytest.mark.parametrize(
    ("change", "monitors", "said"),
    [
        ("DELETE FROM legs WHERE landed_at >= TIMESTAMP '2024-01-03'", {},
         "no row is in 2024-02-29, the newest is from 2024-01-02 23:58: monitor --as-of 2024-01-03 evaluates that day"),
        ("DELETE FROM legs WHERE landed_at >= TIMESTAMP '2024-02-29 02:00'",
         {"period": "hour", "baseline": {"previous": 3, "same": "none"}},
         "the newest is from 2024-02-29 01:58: monitor --as-of 2024-02-29T02:00 evaluates that hour"),
        ("DELETE FROM legs WHERE landed_at < TIMESTAMP '2024-03-01'", {},
         "05:58: that day is evaluated when it is over"),
        ("DELETE FROM legs", {}, "has no rows up to 2024-03-01 06:00; run `dbt build -s legs` if it should have"),
    ],
)  # fmt: skip
def test_a_view_without_rows_to_evaluate_is_reported_with_the_reason_and_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str, monitors: dict[str, Any], said: str
) -> None:
    made_of = layer(tmp_path, f"{change};", monitors=monitors)
    _, out, _ = cli(capsys, tmp_path, "--no-record", "--report", str(tmp_path / "out"))
    (line,) = [line for line in out.splitlines() if "no rows to evaluate" in line]
    assert line.startswith("legs: no rows to evaluate: ")
    assert said in line
    assert "No rows to evaluate" in (tmp_path / "out" / "index.html").read_text()
    volume = [result for result in run(made_of).results if result.monitor == "volume"]
    assert [result.status for result in volume] == [MonitorStatus.SKIPPED]
    assert said in volume[0].meaning


def test_the_report_is_one_page_that_needs_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layer(tmp_path, f"UPDATE legs SET carrier = '<script>' WHERE {LAST} AND carrier = 'UA';", online=True)
    code, _, err = cli(capsys, tmp_path, "--report", str(tmp_path / "out"), "--no-record")
    assert (code, str(tmp_path / "out" / "index.html") in err) == (0, True)
    page = (tmp_path / "out" / "index.html").read_text()
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org/", "")
    assert page.count("<svg") == 6
    charts = {path.name for path in (tmp_path / "out" / "charts").iterdir()}
    assert charts == {"staleness.svg", "legs__rows.svg", *(f"legs__{name}.svg" for name in columns())}
    for path in (tmp_path / "out" / "charts").iterdir():
        ElementTree.fromstring(path.read_text())
    (tmp_path / "file").touch()
    code, _, err = cli(capsys, tmp_path, "--report", str(tmp_path / "file" / "out"), "--no-record")
    assert (code, "the report can't be written" in err) == (1, True)


@contextmanager
def listening(answer: int, wait: threading.Event | None = None, location: str = "") -> Iterator[tuple[str, list[Any]]]:
    got: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            if wait is not None:
                wait.wait(20)
            self.send_response(answer)
            if location:
                self.send_header("Location", location)
            self.end_headers()

        def do_GET(self) -> None:
            got.append(self.path)

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook/secret", got
    finally:
        if wait is not None:
            wait.set()
        server.shutdown()
        thread.join()
        server.server_close()


def test_alerts_say_what_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "alert.json"
    command = [sys.executable, "-c", f"import sys; open({str(file)!r}, 'wb').write(sys.stdin.buffer.read())"]
    with listening(200) as (url, got):
        alerts = {"webhook": url, "command": command}
        layer(tmp_path / "bad", f"UPDATE legs SET gust = NULL WHERE {LAST};", project={"alerts": alerts})
        code, _, err = cli(capsys, tmp_path / "bad")
        assert (code, err) == (1, "")
        layer(tmp_path / "good", project={"alerts": alerts})
        assert cli(capsys, tmp_path / "good")[0] == 0
        assert cli(capsys, tmp_path / "bad", "--no-record")[0] == 1
    (message,) = got
    assert message == json.loads(file.read_text())
    assert message["text"] == "featurelayer monitor of shop: 1 failed, 1 warned: legs"
    assert [result["monitor"] for result in message["results"]] == ["null_rate"]


def test_an_alert_that_can_t_be_sent_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change = f"UPDATE legs SET gust = NULL WHERE {LAST};"
    held = threading.Event()
    with listening(500) as (refusing, _), listening(200, held) as (slow, _):
        cases: list[tuple[dict[str, Any], str]] = [
            ({"webhook": refusing}, "answered 500"),
            ({"webhook": slow, "timeout": 0.2}, "not delivered: the webhook did not answer within 0.2 seconds"),
            ({"webhook": "http://127.0.0.1:9/secret"}, "not delivered: the webhook can't be reached"),
            ({"webhook": "http://127.0.0.1:9/hook/sec ret"}, "not delivered: the webhook can't be used"),
            ({"webhook": "http://me:secret@127.0.0.1:9/hook"}, "not delivered: the webhook can't be"),
            ({"command": ["false"]}, "ended with 1"),
            ({"command": ["/nowhere/program"]}, "can't be run"),
            ({"command": ["sleep", "20"], "timeout": 0.2}, "took longer than 0.2 seconds"),
        ]
        for number, (alerts, said) in enumerate(cases):
            layer(tmp_path / str(number), change, project={"alerts": alerts})
            code, _, err = cli(capsys, tmp_path / str(number))
            assert code == 1
            assert said in err
            assert "secret" not in err
            assert "sec ret" not in err
    found = layer(tmp_path / "wrong", change, project={"alerts": {"webhok": "x"}})
    with pytest.raises(ConfigError, match="did you mean 'webhook'"):
        found.monitor(as_of=AT)


# --- exports ---------------------------------------------------------------------------------------------------------


def test_an_export_refuses_a_blocking_view_whose_monitor_fails(tmp_path: Path) -> None:
    change, at = f"UPDATE legs SET gust = NULL WHERE {LAST};", AT
    store = MemoryStore()
    lax = layer(tmp_path / "lax", change, online=True)
    assert lax.export(as_of=at, store=store).views[0].rows == 50
    strict = layer(tmp_path / "strict", change, online=True, block_export=True)
    store = MemoryStore()
    with pytest.raises(PlanError, match=r"legs\.gust fails the monitor null_rate: 100\.0% of 720 rows") as caught:
        strict.export(as_of=at, store=store)
    assert "--ignore-monitors" in caught.value.problems[0].fix
    assert not list(store.names("views"))
    assert strict.export(as_of=at, store=store, ignore_monitors=True).views[0].rows == 50
    healthy = layer(tmp_path / "healthy", online=True, block_export=True)
    assert healthy.export(as_of=at, store=MemoryStore()).views[0].rows == 50


def static_layer(root: Path, **monitors: Any) -> FeatureLayer:
    """A static view of three planes, exported by the test."""
    node = made.model(
        "seats", static=True, online=True, monitors=monitors, drop=("landed_at", "arr_delay"),
        config={"event_time": None}, columns={"seats": made.column("integer")},
    )  # fmt: skip
    store = {"dev": {"type": "sqlite", "path": "o.db"}}
    config = yaml.safe_dump({"entities": made.ENTITIES, "online_store": store})
    made.project(root, made.manifest(node), config=config)
    (root / "profiles.yml").write_text(warehouses.PROFILES)
    change(root, "CREATE TABLE seats AS SELECT * FROM (VALUES ('N1', 50), ('N2', 150), ('N3', 180)) t(tailnum, seats)")
    return FeatureLayer(root, profiles_dir=root)


def change(root: Path, sql: str) -> None:
    with duckdb.connect(str(root / "db.duckdb")) as connection:
        connection.execute(sql)


def seats(layer: FeatureLayer) -> MonitorResult:
    return only(layer.monitor(record=False), "static_changes")


def test_a_static_view_whose_values_change_between_exports_is_a_warning(tmp_path: Path) -> None:
    layer = static_layer(tmp_path)
    assert [r for r in layer.monitor(record=False).results if r.monitor == "static_changes"] == []  # nothing exported
    layer.export()
    assert seats(layer).status is MonitorStatus.SKIPPED
    change(tmp_path, "INSERT INTO seats VALUES ('N4', 9); DELETE FROM seats WHERE tailnum = 'N3'")
    layer.export()
    layer.export(full=True)  # written again as they were
    assert (seats(layer).status, seats(layer).value) == (MonitorStatus.PASS, 0)  # keys come and go
    change(tmp_path, "UPDATE seats SET seats = 51 WHERE tailnum = 'N1'")
    layer.export()
    found = seats(layer)
    assert (found.status, found.value) == (MonitorStatus.WARN, pytest.approx(1 / 3))
    assert found.meaning.startswith("the values of 1 of 3 keys changed between exports")
    assert "dbt snapshot" in found.meaning
    layer.export()
    assert seats(layer).status is MonitorStatus.WARN  # still among the exports that are remembered


def test_a_static_view_may_change_as_much_as_its_threshold_says(tmp_path: Path) -> None:
    layer = static_layer(tmp_path, static_changes={"error": 0.5})
    layer.export()
    change(tmp_path, "UPDATE seats SET seats = 51 WHERE tailnum = 'N1'")
    layer.export()
    assert seats(layer).status is MonitorStatus.PASS
    change(tmp_path, "UPDATE seats SET seats = seats + 1")
    layer.export()
    assert seats(layer).status is MonitorStatus.ERROR
    quiet = static_layer(tmp_path / "quiet", static_changes=False)
    quiet.export()
    assert [r for r in quiet.monitor(record=False).results if r.monitor == "static_changes"] == []
