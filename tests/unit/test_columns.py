"""Declared columns against those that a model produces, by compiled SQL or the catalog: lint, list, show, diff."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from featurelayer.cli import main
from featurelayer.diff import ChangeKind
from featurelayer.layer import FeatureLayer
from featurelayer.lineage import SqlModel, analyse
from featurelayer.lint import lint
from tests.unit.dbt_projects import column, model
from tests.unit.linting import asked_tests, service, view, write

SQL = 'select tailnum, landed_at, delay as arr_delay from "db"."src"."flights"'
YAML = """models:
  - name: legs
    columns:
      - name: tailnum
      - name: landed_at
      - name: arr_delay
        data_type: double
"""


def compiled(sql: str, **more: Any) -> dict[str, Any]:
    return view(node={"compiled_code": sql, **more.pop("node", {})}, **more)


def missing(root: Path, node: dict[str, Any], *parents: dict[str, Any], catalog: Any = None, **more: Any) -> list[str]:
    """What lint says of columns that are not produced."""
    write(root, node, *parents, *asked_tests(), **more)
    if catalog is not None:
        write_catalog(root, **catalog)
    from featurelayer.dbt import load_project

    found = lint(load_project(root), (), ("FL310",)).findings
    return [f"{each.severity}: {each.message}" for each in found]


def write_catalog(
    root: Path, *names: str, written: str = "2026-01-02T00:00:00Z", node: str = "model.shop.legs"
) -> None:
    columns = {name: {"name": name, "type": "DOUBLE", "index": place} for place, name in enumerate(names)}
    document = {"metadata": {"generated_at": written}, "nodes": {node: {"columns": columns}}}
    (root / "target" / "catalog.json").write_text(json.dumps(document))


def parent(name: str, sql: str, *above: str) -> dict[str, Any]:
    node = model(name, node={"compiled_code": sql, "depends_on": {"nodes": [f"model.shop.{each}" for each in above]}})
    return node | {"config": {"materialized": "table"}, "columns": {}}


def test_a_column_that_the_sql_does_not_produce_is_an_error(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "features.yml").write_text(YAML)
    written = write(tmp_path, compiled(SQL.replace("as arr_delay", "as arr_delays")), *asked_tests())
    (found,) = lint(written, (), ("FL310",)).findings
    assert found.severity == "error"
    assert found.message == (
        "legs: its model produces no column 'arr_delay', the feature, by its compiled SQL (did you mean 'arr_delays'?)"
    )
    assert (found.file, found.line, found.name) == ("models/features.yml", 6, "legs.arr_delay")


@pytest.mark.parametrize(
    ("more", "name", "role"),
    [
        ({}, "tailnum", "join key of plane"),
        ({}, "landed_at", "event time"),
        ({"available_at": "loaded_at", "delay": None}, "loaded_at", "available time"),
        ({"created_timestamp": "made_at"}, "made_at", "created time"),
        ({"valid_to": "until"}, "until", "end of validity"),
        ({"tie_breaker": ["flight"]}, "flight", "tie-breaker"),
    ],
)
def test_every_column_that_a_view_needs_is_looked_for(tmp_path, more, name, role):
    own = {name: column("timestamp")} if name not in ("tailnum", "landed_at") else {}
    own = {key: value | {"config": {"meta": {"featurelayer": {"feature": False}}}} if role == "tie-breaker" else value
           for key, value in own.items()}  # fmt: skip
    node = compiled(SQL.replace(name, f"{name} as other"), columns=own, **more)
    (told,) = missing(tmp_path, node)
    assert f"no column '{name}', the {role}" in told


PRODUCED = {
    "as it is": SQL,
    "another case": SQL.replace("arr_delay", "ARR_Delay"),
    "quoted": SQL.replace("arr_delay", '"Arr_Delay"'),
    "a star over a CTE": f"with a as ({SQL}) select * from a",
    "a star with another name": f"with a as ({SQL.replace('arr_delay', 'x')}) select * rename (x as arr_delay) from a",
    "a union": f"{SQL} union all select 'a', now(), 1",
    "a union by name": f"select 1 as arr_delay union all by name {SQL}",
    "a struct's field": SQL.replace("delay as arr_delay", "leg.arr_delay"),
    "a struct's field, deep": SQL.replace("delay as arr_delay", "leg.times.arr_delay"),
    "named by VALUES": "select * from (values ('a', now(), 1)) as t(tailnum, landed_at, arr_delay)",
    "named by a CTE": "with t(tailnum, landed_at, arr_delay) as (select 'a', now(), 1) select * from t",
    "a window": SQL.replace("delay as arr_delay", "sum(delay) over (order by landed_at) as arr_delay"),
    # what the SQL does not show
    "a star over a table": 'select * from "db"."src"."flights"',
    "a star over a table and more": 'select *, 1 as one from "db"."src"."flights" where delay > 1',
    "a star of one table": "select f.*, p.seats from src.flights f join src.planes p using (tailnum)",
    "columns by a pattern": "select columns('a.*') from src.flights",
    "a pattern of names": "select * like '%a%' from src.flights",
    "an inline pivot": "select * from src.flights pivot (sum(x) for k in ('arr_delay'))",
    "a pivot": "pivot src.flights on k using sum(x)",
    "unpivot": "select * from src.flights unpivot (arr_delay for n in (a, b))",
    "all fields of a struct": "select leg.* from (select leg from src.flights)",
    "unnest of a struct": "select unnest(leg) from (select leg from src.flights)",
    "a column that has no name": "select tailnum, landed_at, max(delay) from src.flights group by all",
    "two columns of one name": "with a as (select tailnum, 1 as k), b as (select landed_at, 1 as k) "
    "select a.*, b.* from a, b",
    "a function that makes tables": "select * from read_csv('flights.csv')",
    "no SQL at all": "",
    "broken SQL": "select from where",
}  # fmt: skip


@pytest.mark.parametrize("sql", PRODUCED.values(), ids=list(PRODUCED))
def test_nothing_is_said_of_what_is_produced_or_not_known(tmp_path, sql):
    assert missing(tmp_path, compiled(sql)) == []


LOST = {
    "renamed": SQL.replace("as arr_delay", "as dep_delay"),
    "dropped": 'select tailnum, landed_at from "db"."src"."flights"',
    "under a star": f"with a as ({SQL}) select * exclude (arr_delay) from a",
    "renamed under a star": f"with a as ({SQL}) select * rename (arr_delay as delay) from a",
    "only in one branch": f"select tailnum, landed_at, 1 as x from src.flights union all {SQL}",
    "only the path is called so": SQL.replace("delay as arr_delay", "arr_delay.minutes"),
    "only grouped by": "select tailnum, max(landed_at) as landed_at from src.flights group by tailnum, arr_delay",
}


@pytest.mark.parametrize("sql", LOST.values(), ids=list(LOST))
def test_it_is_told_wherever_the_sql_shows_it(tmp_path, sql):
    (told,) = missing(tmp_path, compiled(sql))
    assert told.startswith("error: legs: its model produces no column 'arr_delay'")


def test_columns_come_through_models_above(tmp_path):
    above = parent("stg", f"with a as ({SQL}) select * from a")
    node = compiled('select * from "db"."main"."stg"', node={"depends_on": {"nodes": ["model.shop.stg"]}})
    assert missing(tmp_path, node, above) == []
    above["compiled_code"] = above["compiled_code"].replace("arr_delay", "late_by")
    assert len(missing(tmp_path, node, above)) == 1
    above["compiled_code"] = 'select * from "db"."src"."flights"'
    assert missing(tmp_path, node, above) == []


def test_a_python_model_and_a_snapshot(tmp_path):
    python = compiled("def model(dbt, session): ...", node={"language": "python"})
    assert missing(tmp_path, python) == []
    more = {"resource_type": "snapshot", "unique_id": "snapshot.shop.legs", "patch_path": "shop://models/features.yml"}
    snapshot = compiled(SQL, config={"event_time": None, "contract": {}}, node=more, delay=None)
    assert missing(tmp_path, snapshot) == []
    renamed = copy.deepcopy(snapshot)
    renamed["config"]["snapshot_meta_column_names"] = {"dbt_valid_from": "since"}
    assert missing(tmp_path, renamed) == []


# --- case ---------------------------------------------------------------------


NAMED = "with a(tailnum, landed_at, {1}) as ({0}) select * from a"


@pytest.mark.parametrize(
    ("adapter", "written", "is_found"),
    [
        ("duckdb", '"Arr_Delay"', True),
        ("bigquery", "Arr_Delay", True),
        ("snowflake", "arr_delay", True),
        ("postgres", "Arr_Delay", True),
        ("postgres", '"Arr_Delay"', False),
        ("clickhouse", "arr_delay", True),
        ("clickhouse", "Arr_Delay", False),
    ],
)
@pytest.mark.parametrize("around", ["{0}", "with a as ({0}) select * from a", "{0} union all {0}", NAMED])
def test_case_counts_where_the_engine_counts_it(tmp_path, adapter, written, is_found, around):
    node = compiled(around.format(SQL.replace("arr_delay", written), written))
    assert missing(tmp_path, node, adapter=adapter) == ([] if is_found else [
        "error: legs: its model produces no column 'arr_delay', the feature, by its compiled SQL "
        "(did you mean 'Arr_Delay'?)"
    ])  # fmt: skip


# --- the catalog --------------------------------------------------------------

STAR = 'select * from "db"."src"."flights"'


def test_the_catalog_tells_where_the_sql_does_not(tmp_path):
    write(tmp_path, compiled(STAR), *asked_tests())
    write_catalog(tmp_path, "tailnum", "landed_at", "ARR_DELAY")
    assert lint_again(tmp_path) == []
    write_catalog(tmp_path, "tailnum", "landed_at", "arr_delays")
    assert lint_again(tmp_path) == [
        "error: legs: its model produces no column 'arr_delay', the feature, by catalog.json "
        "(did you mean 'arr_delays'?)"
    ]


def lint_again(root: Path) -> list[str]:
    from featurelayer.dbt import load_project

    found = lint(load_project(root), (), ("FL310",)).findings
    return [f"{each.severity}: {each.message}" for each in found]


def test_a_catalog_alone_is_enough(tmp_path):
    write(tmp_path, view(), *asked_tests())
    write_catalog(tmp_path, "tailnum", "landed_at")
    assert len(lint_again(tmp_path)) == 1


def test_a_catalog_that_is_older_than_the_model_is_doubted(tmp_path):
    parsed = 1767441600.0  # 2026-01-03
    write(tmp_path, compiled(STAR, node={"created_at": parsed}), *asked_tests())
    write_catalog(tmp_path, "tailnum", "landed_at", written="2026-01-02T00:00:00Z")
    (told,) = lint_again(tmp_path)
    assert told.startswith("warning: ")
    assert "by catalog.json, which is older than the model" in told
    write_catalog(tmp_path, "tailnum", "landed_at", written="2026-01-04T00:00:00Z")
    assert lint_again(tmp_path)[0].startswith("error: ")


def test_compiled_sql_wins_over_the_catalog_where_it_shows_all(tmp_path):
    write(tmp_path, compiled(SQL), *asked_tests())
    write_catalog(tmp_path, "tailnum", "landed_at")
    assert lint_again(tmp_path) == []
    write(tmp_path, compiled(SQL.replace("arr_delay", "late_by")), *asked_tests())
    write_catalog(tmp_path, "tailnum", "landed_at", "arr_delay")
    (told,) = lint_again(tmp_path)
    assert "by its compiled SQL (catalog.json has it: it is older, or the model is still to be built)" in told


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"nodes": {"model.shop.legs": 7}}', '{"metadata": {"generated_at": "?"}}']
)
def test_a_damaged_catalog_tells_nothing(tmp_path, text):
    write(tmp_path, compiled(STAR), *asked_tests())
    (tmp_path / "target" / "catalog.json").write_text(text)
    assert lint_again(tmp_path) == []


# --- list and show ------------------------------------------------------------


@pytest.mark.parametrize("command", [["list"], ["list", "views"], ["show", "legs"], ["show", "legs.arr_delay"]])
def test_list_and_show_warn_of_it(tmp_path, monkeypatch, capsys, command):
    write(tmp_path, compiled(SQL.replace("as arr_delay", "as delays")), *asked_tests())
    monkeypatch.chdir(tmp_path)
    assert main(command) == 0
    captured = capsys.readouterr()
    assert "its model produces no column 'arr_delay'" in captured.err
    assert "legs" in captured.out
    write(tmp_path, compiled(SQL), *asked_tests())
    assert main(command) == 0
    assert capsys.readouterr().err == ""


# --- diff ---------------------------------------------------------------------


def diff(root: Path, then: str, now: str, *, yaml: str = "arr_delay", **more: Any) -> list[tuple[str, ...]]:
    before = write(root, compiled(then, **more), exposures=(service(),))
    (root / "state").mkdir(exist_ok=True)
    (before.target_path / "manifest.json").rename(root / "state" / "manifest.json")
    after = compiled(now, **more)
    if yaml != "arr_delay":
        after["columns"][yaml] = after["columns"].pop("arr_delay") | {"name": yaml}
    write(root, after, exposures=(service(f"legs.{yaml}"),))
    changes = FeatureLayer(root).diff(root / "state").changes
    return [(str(each.kind), str(each.severity), ", ".join(each.names), *each.details) for each in changes]


@pytest.mark.parametrize("sql", LOST.values(), ids=list(LOST))
def test_a_column_that_the_sql_has_lost_is_removed(tmp_path, sql):
    (found,) = diff(tmp_path, SQL, sql)
    assert found[:3] == (ChangeKind.REMOVED, "error", "legs.arr_delay")
    assert "its model produces no column 'arr_delay'" in found[3]
    assert main(["diff", "--project-dir", str(tmp_path), "--state", str(tmp_path / "state")]) == 1


def test_a_key_that_is_lost_takes_all_features_with_it(tmp_path):
    (found,) = diff(tmp_path, SQL, SQL.replace("tailnum", "plane"), columns={"seats": column("bigint", feature=False)})
    assert found[:3] == ("removed", "error", "legs.arr_delay")
    assert "the join key of plane" in found[3]


def test_a_column_that_was_lost_and_is_there_again_is_added(tmp_path):
    assert [each[:3] for each in diff(tmp_path, LOST["renamed"], SQL)] == [("added", "note", "legs.arr_delay")]


def test_a_rename_in_both_is_a_removal_and_an_addition(tmp_path):
    found = diff(tmp_path, SQL, SQL.replace("arr_delay", "late_by"), yaml="late_by")
    assert [each[:3] for each in found] == [
        ("removed", "error", "legs.arr_delay"),
        ("added", "note", "late"),
        ("added", "note", "legs.late_by"),
    ]


def test_a_misspelt_column_on_both_sides_is_no_change(tmp_path):
    assert diff(tmp_path, LOST["renamed"], LOST["renamed"]) == []


# --- lineage: which columns there are -----------------------------------------


@pytest.mark.parametrize(
    ("sql", "columns", "is_complete"),
    [
        ("select a, b as c from t", ("a", "c"), True),
        ("select a + 1, b from t", ("_0", "b"), False),
        ("select *, a as d from t", ("d",), False),
        ("with x as (select a, b from t) select x.*, 1 as c from x", ("a", "b", "c"), True),
        ("with x as (select a, k from t), y as (select b, k from t) select * from x join y using (k)",
         ("a", "k", "b"), True),
        ("with x as (select a, k from t), y as (select b, k from t) select * from x natural join y",
         ("a", "k", "b"), True),
        ("with x as (select a, k from t), y as (select b, k from t) select * from x join y on x.k = y.k",
         ("a", "k", "b"), False),
        ("select s.* from (select s from t)", None, False),
    ],
)  # fmt: skip
def test_the_columns_of_a_query(sql, columns, is_complete):
    output = analyse([SqlModel(unique_id="m", relation_name="m", sql=sql)], dialect="duckdb").output("m")
    assert output is None if columns is None else (output.columns, output.is_complete) == (columns, is_complete)
