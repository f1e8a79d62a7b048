"""How late rows are, by a view's own clocks and by its exports, and the delay that follows."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import duckdb
import pyarrow as pa
import pytest

from featurelayer.cli import main
from featurelayer.errors import PlanError
from featurelayer.layer import FeatureLayer
from featurelayer.online import MemoryStore
from featurelayer.verify import Lateness
from featurelayer.verify.lateness import LADDER, QUANTILES
from tests.unit import dbt_projects as made
from tests.unit.warehouses import layer

pytestmark = pytest.mark.slow

START = datetime(2024, 1, 1)
LOADED = {"loaded_at": made.column("timestamp"), "changed_at": made.column("timestamptz")}


def project(root: Path, rows: list[tuple[datetime | None, timedelta | None]], **more) -> FeatureLayer:
    """A view with rows of these events, each so much later there."""
    found = layer(root, made.model(columns=LOADED, **more), sql="SELECT 1")
    arrivals = [None if None in row else row[0] + row[1] for row in rows]
    table = pa.table(
        {
            "tailnum": [f"N{n % 7}" for n in range(len(rows))],
            "landed_at": pa.array([event for event, _ in rows], pa.timestamp("us")),
            "arr_delay": pa.array([1.0] * len(rows)),
            "loaded_at": pa.array(arrivals, pa.timestamp("us")),
            "changed_at": pa.array(arrivals, pa.timestamp("us")).cast(pa.timestamp("us", "UTC")),
        }
    )  # fmt: skip
    with duckdb.connect(str(root / "db.duckdb")) as connection:
        connection.register("given", table)
        connection.execute("CREATE TABLE legs AS SELECT * FROM given")
    return found


@pytest.mark.parametrize("column", ["loaded_at", "changed_at"])
def test_shares_and_quantiles_are_those_of_the_rows(tmp_path, column):
    random = Random(4)
    lates = [timedelta(microseconds=int(10 ** random.uniform(3, 11.5))) for _ in range(500)]
    lates += [timedelta(0)] * 20 + [-timedelta(hours=1)] * 5
    rows = [(START + timedelta(minutes=n), late) for n, late in enumerate(lates)]
    found = project(tmp_path, [*rows, (None, None), (START, None)], created_timestamp=column).lateness("legs")
    (observed,) = found.observed
    assert (observed.source, observed.rows, observed.early) == (column, 525, 5)
    ordered = sorted(lates)
    for delay in LADDER:
        assert observed.share(delay) == sum(late <= delay for late in lates) / len(lates)
    assert observed.quantiles["max"] == ordered[-1]
    for name, share in zip(QUANTILES, (0.5, 0.9, 0.99), strict=False):
        rank = ordered.index(observed.quantiles[name])
        assert abs(rank - share * len(lates)) <= 1
    wanted = min(delay for delay in LADDER if observed.share(delay) >= 0.99)
    assert found.recommended == wanted
    assert observed.relevant_delays[-1] == min(delay for delay in LADDER if delay >= ordered[-1])


def test_a_backfill_can_be_left_out(tmp_path):
    old = [(START + timedelta(hours=n), timedelta(days=400)) for n in range(50)]
    new = [(START + timedelta(days=300, hours=n), timedelta(minutes=7)) for n in range(50)]
    found = project(tmp_path, old + new, available_at="loaded_at")
    assert found.lateness("legs").recommended == timedelta(days=730)
    recent = found.lateness("legs", since=START + timedelta(days=299))
    assert (recent.recommended, recent.observed[0].rows) == (timedelta(minutes=10), 50)
    assert recent.is_exact
    assert recent.declared == "available_at: loaded_at"


def test_rows_that_are_never_late_need_no_delay(tmp_path):
    found = project(tmp_path, [(START, timedelta(0))] * 3, created_timestamp="loaded_at").lateness("legs")
    assert found.recommended == timedelta(0)


def exported(root: Path, delay: str | None = None) -> tuple[FeatureLayer, MemoryStore]:
    """Hourly exports of a source whose rows come 20 minutes after their event, one of them 100 minutes."""
    legs = made.model(online=True, ttl="90 days", **({"delay": delay} if delay else {}))
    found, store = (
        layer(root, legs, sql="CREATE TABLE legs(tailnum VARCHAR, landed_at TIMESTAMP, arr_delay DOUBLE)"),
        (MemoryStore()),
    )
    events = [(START + timedelta(minutes=15 * n), timedelta(minutes=100 if n == 30 else 20)) for n in range(60)]
    loaded = 0
    for hour in range(17):
        now = START + timedelta(hours=hour)
        due = [(n, event) for n, (event, late) in enumerate(events) if event + late <= now]
        with duckdb.connect(str(root / "db.duckdb")) as connection:
            connection.execute("DELETE FROM legs")
            connection.executemany(
                "INSERT INTO legs VALUES (?, ?, 1)", [[f"N{n}", event] for n, event in due] or [["", START]]
            )
        loaded = max(loaded, len(due))
        found.export(as_of=now, store=store)
    assert loaded == 60
    return found, store


def lateness_of(found: FeatureLayer, store: MemoryStore, monkeypatch: pytest.MonkeyPatch, **how: float) -> Lateness:
    tables = found.online.export_tables(repr(store))
    with monkeypatch.context() as patch:
        patch.setattr(found.online, "export_tables", lambda: tables)
        return found.lateness("legs", **how)


def test_exports_tell_what_columns_do_not(tmp_path, monkeypatch):
    found, store = exported(tmp_path)
    observed = lateness_of(found, store, monkeypatch).observed
    assert [each.source for each in observed] == ["exports"]
    # Of an hour's four rows the ones of :45 and of the full hour miss the export that was due.
    assert observed[0].rows == 60
    assert 0.4 < observed[0].share(timedelta(0)) < 0.6
    assert observed[0].share(timedelta(hours=1)) < 1
    assert observed[0].share(timedelta(hours=3)) == 1
    assert observed[0].quantiles["max"] <= timedelta(minutes=161)
    # An export says only between which two a row arrived, so it is counted from its event to the later one.
    assert lateness_of(found, store, monkeypatch, coverage=0.95).recommended == timedelta(hours=2)
    assert lateness_of(found, store, monkeypatch).recommended == timedelta(hours=3)


def test_rows_that_were_not_due_yet_are_not_late(tmp_path, monkeypatch):
    found, store = exported(tmp_path, "30 minutes")
    observed = lateness_of(found, store, monkeypatch).observed[0]
    late = round((1 - observed.share(timedelta(0))) * observed.rows)
    assert late == 1


def test_what_can_not_be_told_is_said(tmp_path):
    with pytest.raises(PlanError, match="nothing tells when the rows of legs arrived"):
        layer(tmp_path / "a").lateness("legs")
    static = made.model(static=True, config={"event_time": None})
    with pytest.raises(PlanError, match="is static"):
        layer(tmp_path / "b", static).lateness("legs")


def test_the_command_recommends(tmp_path, capsys):
    rows = [(START + timedelta(minutes=n), timedelta(minutes=4 if n % 10 else 50)) for n in range(100)]
    project(tmp_path, rows, created_timestamp="loaded_at")
    where = ["--project-dir", str(tmp_path), "--profiles-dir", str(tmp_path)]
    assert main(["show", "legs", "--lateness", "--coverage", "0.9", *where]) == 0
    out = capsys.readouterr().out
    assert "Recommended: delay: 5 minutes (covers 90.00%)" in out
    assert "legs declares nothing: known at their event time" in out
    assert main(["show", "view:legs", "--lateness", "--format", "json", *where]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["recommended"] == {"delay": "1 hour", "seconds": 3600.0, "share": 1.0, "source": "loaded_at"}
    assert main(["show", "legs", "--lateness", "--since", "2030-01-01", *where]) == 0
    assert "has no rows to measure" in capsys.readouterr().out
    assert main(["show", "leg", "--lateness", *where]) == 1
    assert "did you mean 'legs'" in capsys.readouterr().err
