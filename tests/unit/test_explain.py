"""What a person is told of one label: the verdicts' words, the command's text and JSON, and the errors."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from featurelayer.cli import main
from featurelayer.errors import LabelError
from featurelayer.layer import FeatureLayer
from featurelayer.sql.ast import col
from featurelayer.sql.dialects.duckdb import DuckDB, DuckDBScript
from featurelayer.sql.join_rules import JoinRules
from featurelayer.sql.plan import AsofJoin, Plan, Script
from featurelayer.testing import DuckDBEngine, make_service, make_table, make_view
from featurelayer.training.explain import Explanation, Outcome, ViewExplanation, explain_plan
from tests.docs.pages import REPOSITORY, tables
from tests.unit import dbt_projects as made
from tests.unit.warehouses import layer

NOON = datetime(2024, 3, 10, 12)
HOUR = timedelta(hours=1)
MICROSECOND = timedelta(microseconds=1)
COLUMNS = {"e": "timestamp", "a": "timestamp", "c": "int64", "until": "timestamp", "x": "float64", "y": "text"}


@pytest.fixture(params=["native", "portable"])
def engine(request: pytest.FixtureRequest) -> Any:
    found = DuckDBEngine(request.param)
    yield found
    found.close()


def explained(
    engine: DuckDBEngine,
    *rows: dict[str, Any],
    key: str | None = "a",
    at: datetime | None = NOON,
    most: int = 20,
    mode: str = "known_at",
    exports: Any = None,
    **annotations: Any,
) -> ViewExplanation:
    """What the view `v`, with the features x and y, has for one label: of the key a, at noon, unless said otherwise."""
    annotations = {"event_time": "e", "online": True} | annotations
    view = make_view("v", {"k": "text"}, COLUMNS, ["x", "y"], **annotations)
    engine.load(view, make_table(view.columns, [{"k": "a"} | row for row in rows]))
    schema = pa.schema([("k", pa.string()), ("t", pa.timestamp("us"))])
    labels = pa.table({"k": [key], "t": [at]}, schema=schema)
    service = make_service((view, None, None))
    plan = engine.plan(labels, service, {"v": view}, mode=mode, exports={"v": exports or ()})
    return explain_plan(engine.warehouse, plan, 0, engine.dialect, most=most).views[0]


VERDICTS = [
    phrase
    for row in next(tables(REPOSITORY / "docs" / "contract.md", "Why a label got its values"))
    for phrase in re.findall("`([^`]+)`", row["verdict"])
]


def verdicts(found: ViewExplanation) -> list[str]:
    """The verdicts, each of which the contract's page has to explain."""
    for candidate in found.candidates:
        said = re.sub(r" (e|a) is NULL", " is NULL", candidate.verdict)
        assert any(said.startswith(phrase) for phrase in VERDICTS), said
    return [candidate.verdict for candidate in found.candidates]


def values(found: ViewExplanation) -> list[tuple[Any, str]]:
    return [(feature.value, feature.origin) for feature in found.features]


# --- the verdicts ----------------------------------------------------------------------------------------------------


def test_every_row_of_the_key_is_listed_newest_first_with_its_verdict(engine: DuckDBEngine) -> None:
    found = explained(
        engine,
        {"e": NOON + HOUR, "x": 3.0},
        {"e": NOON - HOUR, "x": 1.0},
        {"e": None, "x": 0.0},
        {"e": NOON, "x": 2.0, "y": None},
        {"k": "b", "e": NOON, "x": 9.0},
    )
    assert verdicts(found) == [
        "after the label's time by 1 h",
        "won",
        "older than the winner by 1 h",
        "its event time e is NULL",
    ]
    assert [candidate.values["x"] for candidate in found.candidates] == [3.0, 2.0, 1.0, 0.0]
    assert found.rows == 4
    assert found.keys == {"k": "a"}
    assert found.result == "the row of 2024-03-10 12:00:00 won"
    assert found.winner is not None
    assert found.winner.event_time == found.winner.visible_from == NOON.replace(tzinfo=UTC)
    assert values(found) == [(2.0, "winner"), (None, "NULL in the winner")]


def test_times_of_arrival(engine: DuckDBEngine) -> None:
    rows = [{"e": NOON, "a": NOON + 2 * HOUR}, {"e": NOON - HOUR, "a": None}, {"e": NOON - 2 * HOUR, "a": NOON}]
    found = explained(engine, *rows, available_at="a")
    assert verdicts(found) == ["not available until 2024-03-10 14:00:00", "its available time a is NULL", "won"]
    assert [candidate.visible_from for candidate in found.candidates] == [
        (NOON + 2 * HOUR).replace(tzinfo=UTC),
        None,
        NOON.replace(tzinfo=UTC),
    ]
    assert found.rules == "visible from e and a on; ties: greatest a"
    found = explained(engine, *rows, delay=HOUR + MICROSECOND)
    assert verdicts(found)[:2] == [
        "not available until 2024-03-10 13:00:00.000001",
        "not available until 2024-03-10 12:00:00.000001",
    ]
    assert found.rules == "visible from e + 3600000001 microseconds"


def test_an_exclusive_bound(engine: DuckDBEngine) -> None:
    found = explained(engine, {"e": NOON}, {"e": NOON - MICROSECOND}, bound="exclusive")
    assert verdicts(found) == ["at the label's time, which bound: exclusive leaves out", "won"]
    assert found.rules == "visible from e; bound: exclusive"


def test_ties(engine: DuckDBEngine) -> None:
    rows = [
        {"e": NOON, "c": 1, "y": "b"},
        {"e": NOON, "c": 2, "y": "a"},
        {"e": NOON, "c": 2, "y": "b", "x": -0.0},
        {"e": NOON, "c": 2, "y": "b", "x": 0.0},
        {"e": NOON, "c": 2, "y": "b", "x": 0.0},
    ]
    found = explained(engine, *rows, tie_breaker=("c",))
    assert verdicts(found) == [
        "won",
        "the same as the winner in every column",
        "lost the tie on its content (column x)",
        "lost the tie on its content (column x)",
        "lost the tie on c",
    ]
    assert found.candidates[-1].order == {"c": 1}


def test_a_winner_may_have_expired_or_ended(engine: DuckDBEngine) -> None:
    found = explained(engine, {"e": NOON - HOUR - MICROSECOND, "x": 1.0}, ttl=HOUR, defaults={"y": "none"})
    assert verdicts(found) == ["won but expired: older than the ttl of 1 hour by 1 microsecond"]
    assert values(found) == [(None, "expired"), ("none", "default, as it is expired")]
    assert found.winner is not None
    assert found.winner.outcome is Outcome.EXPIRED
    found = explained(engine, {"e": NOON - HOUR, "until": NOON, "x": 1.0}, valid_to="until")
    assert verdicts(found) == ["won but ended at 2024-03-10 12:00:00"]
    assert values(found) == [(None, "ended"), (None, "ended")]
    assert found.result == "the row of 2024-03-10 11:00:00 won but ended at 2024-03-10 12:00:00"


def test_what_was_being_served(engine: DuckDBEngine) -> None:
    rows = [{"e": NOON, "x": 3.0}, {"e": NOON - HOUR, "x": 2.0}, {"e": NOON - 2 * HOUR, "x": 1.0}]
    exports = [(NOON - HOUR / 2, NOON - 2 * HOUR), (NOON + HOUR, NOON)]
    found = explained(engine, *rows, mode="as_served", exports=exports)
    unseen = "not in the export of 2024-03-10 10:00:00 that was being served"
    assert verdicts(found) == [unseen, unseen, "won"]
    assert found.served_until == (NOON - 2 * HOUR).replace(tzinfo=UTC)
    found = explained(engine, rows[0], mode="as_served", exports=exports, at=NOON - HOUR)
    assert verdicts(found) == ["after the label's time by 1 h"]
    assert found.result == "no export of the view had finished by the label's time"
    found = explained(engine, rows[2], mode="as_served", exports=exports, at=NOON - HOUR)
    assert verdicts(found) == ["no export had finished by the label's time"]


@pytest.mark.parametrize(
    ("label", "result"),
    [
        ({"key": None}, "the label's key is NULL (k)"),
        ({"key": "z"}, "no row with this key"),
        ({"at": None}, "the label's time is NULL"),
        ({"at": NOON - HOUR}, "no row could be seen at the label's time"),
    ],
)
def test_why_there_is_no_winner(engine: DuckDBEngine, label: dict[str, Any], result: str) -> None:
    found = explained(engine, {"e": NOON, "x": 1.0}, {"k": None, "e": NOON}, defaults={"x": -1.0}, **label)
    assert found.result == result
    assert found.winner is None
    assert values(found) == [(-1.0, "default, as it is missing"), (None, "missing")]
    assert found.rows == len(found.candidates) == ("at" in label)


def test_a_static_view(engine: DuckDBEngine) -> None:
    found = explained(engine, {"x": 1.0}, event_time=None, static=True, at=None)
    assert verdicts(found) == ["won"]
    assert found.result == "won: the row with this key"
    assert found.rules == "static: joined on its keys alone"
    assert explained(engine, event_time=None, static=True).result == "no row with this key"


def test_the_nearest_rows_are_shown_and_the_others_counted(engine: DuckDBEngine) -> None:
    rows = [{"e": NOON + place * HOUR, "x": float(place)} for place in range(-50, 100)]
    found = explained(engine, *rows, most=5)
    assert [candidate.values["x"] for candidate in found.candidates] == [2.0, 1.0, 0.0, -1.0, -2.0]
    assert (found.rows, found.newer_left_out, found.older_left_out) == (150, 97, 48)
    found = explained(engine, *rows, most=5, at=NOON - 50 * HOUR)
    assert [candidate.values["x"] for candidate in found.candidates] == [-46.0, -47.0, -48.0, -49.0, -50.0]
    assert (found.newer_left_out, found.older_left_out) == (145, 0)
    found = explained(engine, *rows, most=3, at=NOON - 51 * HOUR)
    assert [candidate.values["x"] for candidate in found.candidates] == [-48.0, -49.0, -50.0]
    assert (found.winner, found.newer_left_out, found.older_left_out) == (None, 147, 0)
    found = explained(engine, *rows, most=5, at=NOON + 99 * HOUR)
    assert [candidate.values["x"] for candidate in found.candidates] == [99.0, 98.0, 97.0, 96.0, 95.0]


def test_the_winner_is_shown_before_a_crowd_of_restatements(engine: DuckDBEngine) -> None:
    late = [{"e": NOON, "a": NOON + place * HOUR, "x": float(place)} for place in range(1, 30)]
    found = explained(engine, *late, {"e": NOON, "a": NOON, "x": 0.0}, available_at="a", most=3)
    assert verdicts(found)[0] == "won"
    assert (found.newer_left_out, found.older_left_out) == (0, 27)


def test_a_column_may_have_the_name_of_a_fact(engine: DuckDBEngine) -> None:
    names = ["event_time", "visible", "tied", "valid_to", "ended", "rows", "newer"]
    view = make_view("v", {"k": "text"}, {"e": "timestamp"} | dict.fromkeys(names, "text"), names, event_time="e")
    row = {name: f"my {name}" for name in names}
    engine.load(view, make_table(view.columns, [row | {"k": "a", "e": NOON}]))
    labels = pa.table({"k": ["a"], "t": pa.array([NOON], pa.timestamp("us"))})
    plan = engine.plan(labels, make_service((view, None, None)), {"v": view})
    (found,) = explain_plan(engine.warehouse, plan, 0, engine.dialect).views
    assert {feature.name: feature.value for feature in found.features} == {f"v__{name}": row[name] for name in names}


@pytest.mark.parametrize("time", ["infinity", "290000-01-01", "-infinity"])
def test_times_that_python_lacks(engine: DuckDBEngine, time: str) -> None:
    view = make_view("v", {"k": "text"}, {"e": "timestamp", "x": "timestamp"}, ["x"], event_time="e")
    engine.load(view, make_table(view.columns, []))
    engine.warehouse.execute(f"INSERT INTO {engine.relation('v')} VALUES ('a', '{time}', '{time}')")
    labels = pa.table({"k": ["a"], "t": pa.array([NOON], pa.timestamp("us"))})
    plan = engine.plan(labels, make_service((view, None, None)), {"v": view})
    (found,) = explain_plan(engine.warehouse, plan, 0, engine.dialect).views
    when, verdict = (
        ("before the year 1", "won") if time == "-infinity" else ("after the year 9999", "after the label's time")
    )
    assert [(c.event_time, c.values["x"], c.verdict) for c in found.candidates] == [(when, when, verdict)]


class OldestWins(JoinRules):
    """A join that is wrong."""

    def tie_order(self, join: AsofJoin, alias: str) -> list[Any]:
        return [col(join.content[0].name, alias)]


class OldestWinsScript(DuckDBScript):
    rules_type = OldestWins


class Careless(DuckDB):
    """A join that is wrong, explained by one that is right."""

    def compile(self, plan: Plan) -> Script:
        return OldestWinsScript(self).compile(plan)


def test_an_explanation_never_disagrees_with_the_join() -> None:
    engine = DuckDBEngine(Careless())
    rows = [{"e": NOON, "c": place, "x": float(place)} for place in range(3)]
    with pytest.raises(RuntimeError, match="the join and its explanation disagree on v__x"):
        explained(engine, *rows, tie_breaker=("c",))
    engine.close()


# --- the layer and the command ---------------------------------------------------------------------------------------

CSV = "tailnum,at,y\nN1,2024-01-01 10:30,1\nN1,2024-01-01 12:00,0\n,2024-01-01 12:00,0\n"
TEXT = """\
row 1 of 3 labels (rows are counted from 0), time 2024-01-01 12:00:00 UTC, mode known_at

legs: the row of 2024-01-01 12:00:00 won
  key    tailnum = N1
  rules  visible from landed_at

event time           visible from         verdict                       arr_delay
2024-01-01 12:00:00  2024-01-01 12:00:00  won                           NULL
2024-01-01 10:00:00  2024-01-01 10:00:00  older than the winner by 2 h  5.0

feature          value  from
legs__arr_delay  NULL   NULL in the winner
"""


@pytest.fixture
def legs(tmp_path: Path) -> FeatureLayer:
    found = layer(tmp_path / "project")
    (found.project.root / "labels.csv").write_text(CSV)
    return found


def run(legs: FeatureLayer, *arguments: str) -> int:
    root = str(legs.project.root)
    labels = str(legs.project.root / "labels.csv")
    options = ["--project-dir", root, "--profiles-dir", root, "--service", "late", "--labels", labels]
    return main(["build-training-set", *options, *arguments])


def test_the_command_explains_and_writes_nothing(legs: FeatureLayer, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(legs.project.root.rglob("*"))
    assert run(legs, "--explain-row", "1") == 0
    assert capsys.readouterr() == (TEXT, "")
    assert sorted(legs.project.root.rglob("*")) == before


def test_the_explanation_comes_after_the_report(
    legs: FeatureLayer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "set.parquet"
    assert run(legs, "--explain-row", "1", "--output", str(output)) == 0
    assert capsys.readouterr().out.endswith(f"s: {output}\n\n{TEXT}")
    assert run(legs, "--explain-row", "1", "--output", str(output), "--format", "json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["rows"] == 3
    assert report["explanation"]["row"] == 1
    assert run(legs, "--explain-row", "1", "--as-table", "explained") == 0
    assert capsys.readouterr().out.endswith(f"s: explained\n\n{TEXT}")
    assert run(legs, "--explain-row", "1", "--show-sql") == 0
    assert capsys.readouterr().out.endswith(f";\n\n{TEXT}")


def test_an_explanation_is_json(legs: FeatureLayer, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(legs, "--explain-row", "1", "--format", "json") == 0
    found = json.loads(capsys.readouterr().out)
    (view,) = found.pop("views")
    assert found == {"row": 1, "labels": 3, "mode": "known_at", "time": "2024-01-01T12:00:00+00:00"}
    assert view["candidates"][1] == {
        "event_time": "2024-01-01T10:00:00+00:00",
        "visible_from": "2024-01-01T10:00:00+00:00",
        "order": {},
        "values": {"arr_delay": 5.0},
        "outcome": "older",
        "verdict": "older than the winner by 2 h",
    }
    assert view["features"] == [{"name": "legs__arr_delay", "value": None, "origin": "NULL in the winner"}]


def test_a_row_that_is_not_there_writes_nothing(
    legs: FeatureLayer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(legs, "--explain-row", "3", "--output", str(tmp_path / "set.parquet")) == 1
    out, said = capsys.readouterr()
    assert out == ""
    assert said == (
        "Error: there is no label in row 3 (rows are counted from 0): there are 3 labels\n"
        "  fix  choose a row from 0 to 2\n"
    )
    assert not (tmp_path / "set.parquet").exists()
    with pytest.raises(LabelError, match="no label in row -1"):
        legs.explain_row("late", legs.project.root / "labels.csv", -1)
    empty = pa.table({"tailnum": pa.array([], pa.string()), "at": pa.array([], pa.timestamp("us"))})
    with pytest.raises(LabelError, match=r"there are 0 labels$"):
        legs.explain_row("late", empty, 0)
    assert run(legs, "--explain-row", "first") == 2


def test_the_layer_explains_any_labels(legs: FeatureLayer) -> None:
    labels = pa.table({"plane": ["N1", "N2"], "when": pa.array([NOON, NOON])})
    options = {"features": ["legs.*"], "keys": {"tailnum": "plane"}, "label_timestamp": "when"}
    found = legs.explain_row(None, labels, 1, **options)
    assert isinstance(found, Explanation)
    assert [view.keys for view in found.views] == [{"tailnum": "N2"}]
    with legs.build_training_set(labels=labels, **options) as built:
        assert [found.views[0].features[0].value] == built.to_arrow()["legs__arr_delay"].to_pylist()[1:]


def test_values_of_every_type_are_json(tmp_path: Path) -> None:
    """`to_dict` can always be written; what JSON has no word for is text."""
    columns = {
        "f": "'nan'::DOUBLE",
        "d": "1.50::DECIMAL(9, 2)",
        "b": "'a'::BLOB",
        "g": "DATE '2024-01-01'",
        "z": "TIMESTAMPTZ '2024-01-01 00:00+01'",
        "l": "[1, NULL]",
        "s": "{'n': 'é'}",
        "t": "TIME '10:00'",
    }
    types = {"f": "double", "d": "decimal(9,2)", "b": "blob", "g": "date", "z": "timestamptz", "l": "integer[]"}
    types |= {"s": "struct(n varchar)", "t": "time"}
    declared = {name: made.column(types.get(name, "varchar")) for name in columns}
    made_of = ", ".join(f"{value} AS {name}" for name, value in columns.items())
    found = layer(
        tmp_path,
        made.model(columns=declared),
        exposures=(made.exposure("legs.*", label_timestamp="at"),),
        sql=f"CREATE TABLE legs AS SELECT 'N1' AS tailnum, TIMESTAMP '2024-01-01' AS landed_at, "
        f"0.5::DOUBLE AS arr_delay, {made_of}",
    )
    labels = pa.table({"tailnum": ["N1"], "at": pa.array([NOON])})
    explanation = found.explain_row("late", labels, 0).to_dict()
    assert json.loads(json.dumps(explanation, allow_nan=False)) == explanation
    assert {feature["name"]: feature["value"] for feature in explanation["views"][0]["features"]} == {
        "legs__arr_delay": 0.5,
        "legs__f": "nan",
        "legs__d": "1.50",
        "legs__b": "61",
        "legs__g": "2024-01-01",
        "legs__z": "2023-12-31T23:00:00+00:00",
        "legs__l": [1, None],
        "legs__s": {"n": "é"},
        "legs__t": "10:00:00",
    }
