"""Each check of leakage finds its leak in whatever CTE, subquery, alias or model it hides; honest SQL is left alone."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import jinja2
import pytest

from featurelayer.dbt import load_project
from featurelayer.lint import lint
from tests.unit.dbt_projects import column, model
from tests.unit.linting import described, service, view, write

LEGS = "raw.legs"
PLANES = "raw.planes"
SPELL = {"legs": LEGS, "planes": PLANES}


def source(name: str, **types: str) -> dict:
    return {
        "unique_id": f"source.shop.raw.{name}",
        "name": name,
        "source_name": "raw",
        "resource_type": "source",
        "relation_name": f'"raw"."{name}"',
        "columns": {key: {"name": key, "data_type": of} for key, of in types.items()},
    }


SOURCES = {
    "source.shop.raw.legs": source("legs", leg="integer", tailnum="varchar", landed_at="timestamp",
                                   sched_landed_at="timestamp", loaded_at="timestamp", arr_delay="double",
                                   origin="varchar"),
    "source.shop.raw.planes": source("planes", tailnum="varchar", seats="integer", updated_at="timestamp",
                                     valid_from="timestamp", valid_to="timestamp"),
    "source.shop.raw.gates": source("gates", tailnum="varchar", opened_at="timestamp", gate="varchar"),
}  # fmt: skip
PARENTS = [*SOURCES]


def sql_of(sql: str, *parents: str, **more: object) -> dict:
    return {"node": {"compiled_code": sql, "raw_code": sql, "depends_on": {"nodes": [*PARENTS, *parents]}, **more}}


def plain(name: str, sql: str, *parents: str, **more: object) -> dict:
    """A model that is no view."""
    node = model(name, columns={}, drop=("tailnum", "landed_at", "arr_delay"), config=more.pop("config", {}))
    node["config"]["meta"] = {}
    node["config"].pop("event_time")
    node["language"] = "sql"
    return {**node, **sql_of(sql, *parents, **more)["node"]}


def leaks(
    root, sql: str, *others: dict, parents: tuple[str, ...] = (), exposures: tuple[dict, ...] = (), **more
) -> set[str]:
    """The codes of leakage and duplicates that lint finds in a view with this SQL."""
    node = sql_of(sql, *parents, **more.pop("node", {}))["node"]
    nodes = (view(node=node, **more), *others)
    report = lint(write(root, *nodes, exposures=exposures, sources=SOURCES), (), ("FL201", "FL21", "FL22"))
    return {found.code for found in report.findings}


def rolling(function: str = "avg(arr_delay)", frame: str = "range between interval 7 days preceding and current row",
            order: str = "landed_at", partition: str = "tailnum") -> str:  # fmt: skip
    by = f"partition by {partition} " if partition else ""
    ordered = f"order by {order} {frame}" if order else ""
    return f"select tailnum, landed_at, {function} over ({by}{ordered}) as arr_delay from {LEGS}"


ALL = "rows between unbounded preceding and unbounded following"
HIDDEN = (
    "with w as (select tailnum as t, landed_at as l, avg(arr_delay) over (partition by tailnum) as m from raw.legs), "
    "v as (select * from (select t, l, m * 2 as mm from w where l is not null)) "
    "select t as tailnum, l as landed_at, coalesce(mm, 0) as arr_delay from v"
)
JOINED_MEAN = (
    f"select e.tailnum, e.landed_at, m.mean as arr_delay from {LEGS} e "
    f"join (select origin, avg(arr_delay) as mean from {LEGS} group by origin) m on m.origin = e.origin"
)

LEAKS = [
    ("FL210", rolling(frame="rows between 3 preceding and 1 following")),
    ("FL210", rolling(frame=ALL)),
    ("FL210", rolling(frame="range between current row and interval 1 day following")),
    ("FL210", rolling(order="")),
    ("FL210", rolling(order="", partition="")),
    ("FL210", rolling(order="landed_at desc", frame="")),
    ("FL210", rolling("percent_rank()", frame="")),
    ("FL210", HIDDEN),
    ("FL210", f"select tailnum, landed_at, sum(arr_delay) over w as arr_delay from {LEGS} "
              "window w as (partition by tailnum)"),
    ("FL210", f"select tailnum, landed_at, arr_delay from {LEGS} qualify count(*) over (partition by tailnum) > 5"),
    ("FL210", rolling(order="", partition="tailnum, date_trunc('month', landed_at)")),
    ("FL210", rolling("rank()", frame="", order="landed_at desc")),
    ("FL212", rolling("first_value(arr_delay)", frame=ALL, order="landed_at desc")),
    ("FL212", rolling("nth_value(arr_delay, 2)", frame=ALL)),
    ("FL211", rolling("lead(arr_delay)", frame="")),
    ("FL211", rolling("lag(arr_delay)", frame="", order="landed_at desc")),
    # Without an order the value is that of any row.
    ("FL211", rolling("lag(arr_delay)", frame="", order="")),
    ("FL211", f"with n as (select *, lead(arr_delay) over (partition by tailnum order by landed_at) as nx from {LEGS}) "
              "select tailnum, landed_at, arr_delay - nx as arr_delay from n"),
    ("FL212", rolling("last_value(arr_delay)", frame=ALL)),
    ("FL212", rolling("first_value(arr_delay)", frame="", order="landed_at desc")),
    ("FL212", f"with newest as (select tailnum, arr_delay from {LEGS} qualify row_number() over (partition by tailnum "
              f"order by landed_at desc) = 1) select e.tailnum, e.landed_at, n.arr_delay from {LEGS} e "
              "join newest n on n.tailnum = e.tailnum"),
    ("FL212", f"with newest as (select distinct on (tailnum) tailnum, arr_delay from {LEGS} "
              f"order by tailnum, landed_at desc) select e.tailnum, e.landed_at, n.arr_delay from {LEGS} e "
              "join newest n using (tailnum)"),
    ("FL213", f"select tailnum, landed_at, date_diff('day', landed_at, current_date) as arr_delay from {LEGS}"),
    ("FL213", f"select tailnum, landed_at, epoch(now() - landed_at) as arr_delay from {LEGS}"),
    ("FL213", f"with t as (select current_timestamp as n) select tailnum, landed_at, epoch(n - landed_at) as arr_delay "
              f"from {LEGS}, t"),
    ("FL213", f"select tailnum, landed_at, arr_delay from {LEGS} where landed_at > current_date - interval 30 days"),
    ("FL214", f"select tailnum, date_trunc('day', landed_at) as landed_at, sum(arr_delay) as arr_delay "
              f"from {LEGS} group by 1, 2"),
    ("FL214", f"with d as (select tailnum, cast(landed_at as date) as day, arr_delay from {LEGS}) "
              "select tailnum, cast(day as timestamp) as landed_at, max(arr_delay) as arr_delay from d group by 1, 2"),
    ("FL214", f"select tailnum, date_trunc('month', landed_at) as landed_at, arr_delay from {LEGS}"),
    ("FL215", JOINED_MEAN),
    ("FL215", f"select tailnum, landed_at, arr_delay - (select avg(arr_delay) from {LEGS}) as arr_delay from {LEGS}"),
    ("FL215", f"select e.tailnum, e.landed_at, (select avg(i.arr_delay) from {LEGS} i where i.tailnum = e.tailnum) "
              f"as arr_delay from {LEGS} e"),
    ("FL215", f"select tailnum, min(landed_at) as landed_at, avg(arr_delay) as arr_delay from {LEGS} group by tailnum"),
    ("FL215", f"select tailnum, landed_at, arr_delay - (select avg(arr_delay) from {LEGS} i where i.arr_delay > 0) "
              f"as arr_delay from {LEGS}"),
    ("FL215", f"select e.tailnum, e.landed_at, l.mean as arr_delay from {LEGS} e cross join lateral "
              f"(select avg(i.arr_delay) as mean from {LEGS} i where i.tailnum = e.tailnum) l"),
    ("FL216", f"select e.tailnum, e.landed_at, p.seats as arr_delay from {LEGS} e "
              f"left join {PLANES} p on p.tailnum = e.tailnum"),
    ("FL216", f"with p as (select tailnum as t, seats as s from {PLANES}) select e.tailnum, e.landed_at, "
              f"s * 2 as arr_delay from {LEGS} e join p on p.t = e.tailnum"),
    ("FL221", f"select e.tailnum, e.landed_at, g.gate as arr_delay from {LEGS} e join raw.gates g using (tailnum)"),
    ("FL219", f"select tailnum, sched_landed_at as landed_at, arr_delay from {LEGS}"),
    ("FL220", "select from where"),
]  # fmt: skip

HONEST = [
    rolling(),
    rolling(frame=""),
    rolling(frame="rows between unbounded preceding and 1 preceding"),
    rolling("lag(arr_delay)", frame=""),
    rolling("first_value(arr_delay)", frame=""),
    rolling("first_value(arr_delay)", frame=ALL),
    rolling("row_number()", frame=""),
    rolling("count(*)", order="", partition="tailnum, landed_at"),
    f"select tailnum, landed_at, arr_delay from {LEGS} "
    "qualify row_number() over (partition by tailnum, landed_at order by loaded_at desc) = 1",
    f"select tailnum, landed_at, arr_delay from {LEGS} where landed_at <= current_timestamp",
    f"select tailnum, landed_at, arr_delay from {LEGS} where now() >= landed_at and arr_delay > 0",
    f"select tailnum, date_trunc('day', landed_at) + interval 1 day as landed_at, sum(arr_delay) as arr_delay "
    f"from {LEGS} group by 1, 2",
    f"select tailnum, date_trunc('hour', landed_at) as landed_at, arr_delay from {LEGS}",
    f"select e.tailnum, e.landed_at, avg(i.arr_delay) as arr_delay from {LEGS} e join {LEGS} i "
    "on i.tailnum = e.tailnum and i.landed_at <= e.landed_at group by 1, 2",
    f"select e.tailnum, e.landed_at, (select avg(i.arr_delay) from {LEGS} i where i.tailnum = e.tailnum "
    f"and i.landed_at < e.landed_at) as arr_delay from {LEGS} e",
    f"select e.tailnum, e.landed_at, d.mean as arr_delay from {LEGS} e join "
    f"(select tailnum, landed_at, avg(arr_delay) as mean from {LEGS} group by 1, 2) d using (tailnum, landed_at)",
    f"select e.tailnum, e.landed_at, p.seats as arr_delay from {LEGS} e join {PLANES} p "
    "on p.tailnum = e.tailnum and e.landed_at >= p.valid_from and e.landed_at < p.valid_to",
    f"select e.tailnum, e.landed_at, l.mean as arr_delay from {LEGS} e cross join lateral "
    f"(select avg(i.arr_delay) as mean from {LEGS} i where i.tailnum = e.tailnum and i.landed_at < e.landed_at) l",
    f"with newest as (select * from {LEGS} qualify row_number() over (partition by leg order by loaded_at desc) = 1) "
    "select tailnum, landed_at, arr_delay from newest",
    f"select distinct on (leg) tailnum, landed_at, arr_delay from {LEGS} order by leg, loaded_at desc",
    f"select tailnum, max(landed_at) as landed_at, avg(arr_delay) as arr_delay from {LEGS} group by tailnum",
    f"select tailnum, greatest(landed_at, loaded_at) as landed_at, arr_delay from {LEGS}",
]  # fmt: skip


@pytest.mark.parametrize(("code", "sql"), LEAKS)
def test_a_leak_is_found(tmp_path, code, sql):
    assert leaks(tmp_path, sql, delay=None) == {code}


@pytest.mark.parametrize("sql", HONEST)
def test_honest_sql_is_left_alone(tmp_path, sql):
    assert leaks(tmp_path, sql, delay=None) == set()


def test_a_leak_in_a_model_above_is_said_of_the_view_with_its_place(tmp_path):
    above = plain(
        "stg",
        f"select tailnum, landed_at,\n  lead(arr_delay) over (partition by tailnum order by landed_at) as nx\n"
        f"from {LEGS}",
    )
    node = sql_of("select tailnum, landed_at, nx as arr_delay from db.main.stg", "model.shop.stg")["node"]
    report = lint(write(tmp_path, view(node=node), above, sources=SOURCES), (), ("FL211",))
    (found,) = report.findings
    assert found.name == "legs"
    assert (found.file, found.line) == ("models/stg.sql", 2)
    assert "arr_delay" in found.message
    assert "in stg" in found.message
    assert any("LEAD" in line for line in found.details)


RAW = """{{ config(materialized='table') }}
{% set columns = ['arr_delay', 'dep_delay'] %}

with firsts as (
    select tailnum, min(landed_at) as first_at
    from {{ source('raw', 'legs') }}
    group by tailnum
),
worst as (
    select tailnum, landed_at,
    {% for column in columns %}
        max({{ column }}) over (partition by tailnum) as {{ column }}_max,
    {% endfor %}
        min(
            arr_delay
        ) over (partition by tailnum
                order by landed_at desc) as least
    from {{ source('raw', 'legs') }}
)
select tailnum, landed_at, arr_delay_max, dep_delay_max, least as arr_delay from worst
"""


def test_a_leak_is_at_the_line_of_its_own_window(tmp_path):
    sql = jinja2.Template(RAW).render(config=lambda **_: "", source=lambda *names: ".".join(names))
    columns = {name: described(description="Another.") for name in ("arr_delay_max", "dep_delay_max")}
    node = {**sql_of(sql)["node"], "raw_code": RAW, "original_file_path": "models/legs.sql"}
    report = lint(write(tmp_path, view(node=node, columns=columns), sources=SOURCES), (), ("FL21",))
    found = {found.line: found.message for found in report.findings}
    lines = RAW.splitlines()
    assert [lines[line - 1].strip() for line in found] == [
        "max({{ column }}) over (partition by tailnum) as {{ column }}_max,",
        "min(",
    ]
    first, last = found.values()
    assert "legs: arr_delay_max, dep_delay_max: the window `MAX(arr_delay)" in first, (
        "one window, though of two columns"
    )
    assert "legs: arr_delay: the window `MIN(arr_delay)" in last


def test_one_window_of_eight_features_is_one_finding(tmp_path):
    functions = ("min", "max", "avg", "sum", "count", "median", "stddev", "variance")
    names = [f"delay_{number}" for number in range(8)]
    made = ", ".join(f"{function}(arr_delay) over w as {name}" for function, name in zip(functions, names, strict=True))
    sql = f"select tailnum, landed_at, arr_delay, {made} from {LEGS} window w as (partition by tailnum)"
    columns = {name: described(description=f"Number {name}.") for name in names}
    report = lint(write(tmp_path, view(node=sql_of(sql)["node"], columns=columns), sources=SOURCES), (), ("FL210",))
    (found,) = report.findings
    assert found.message.startswith("legs: delay_0, delay_1, delay_2, delay_3, delay_4 and 3 more: the window")
    excused = {name: described(description=f"Number {name}.") for name in names[1:]}
    excused["delay_0"] = described(description="Number.", ignore=[{"code": "FL210", "reason": "it is known"}])
    node = sql_of(sql)["node"]
    report = lint(write(tmp_path, view(node=node, columns=excused), sources=SOURCES), (), ("FL210",))
    assert [one.code for one in report.findings] == ["FL210"], "what excuses one feature is not for all"


def test_the_details_are_of_what_leaks_and_not_of_the_dates_around_it(tmp_path):
    spine = plain("spine", "with p as (select 0 as n union all select 1), numbers as (select p0.n + p1.n * 2 as n "
                  "from p as p0 cross join p as p1) select cast('2024-01-01' as timestamp) + n * interval 1 day as day "
                  "from numbers")  # fmt: skip
    sql = (f"with days as (select e.tailnum, s.day, e.arr_delay from db.main.spine s join {LEGS} e "
           "on e.landed_at < s.day) select tailnum, day as landed_at, "
           "lead(arr_delay) over (partition by tailnum order by day) * 2 as arr_delay from days")  # fmt: skip
    node = sql_of(sql, "model.shop.spine")["node"]
    report = lint(write(tmp_path, view(node=node), spine, sources=SOURCES), (), ("FL211",))
    (found,) = report.findings
    assert found.details == ("window: LEAD(arr_delay) OVER (PARTITION BY tailnum ORDER BY day) * 2 as arr_delay",)


def test_a_view_or_a_feature_may_excuse_a_leak(tmp_path):
    sql = rolling(order="")
    assert leaks(tmp_path, sql, ignore=[{"code": "FL210", "reason": "a count of all is what is wanted"}]) == set()
    excused = described(ignore=[{"code": "FL210", "reason": "known"}])
    assert leaks(tmp_path, sql, columns={"arr_delay": excused}) == set()


def test_a_day_with_a_delay_of_a_day_is_in_order(tmp_path):
    sql = f"select tailnum, date_trunc('day', landed_at) as landed_at, arr_delay from {LEGS}"
    assert leaks(tmp_path, sql, delay="1 day") == set()
    assert leaks(tmp_path, sql, delay="1 hour") == {"FL214"}
    for unit, days in (("day", 1), ("week", 7), ("month", 31), ("quarter", 92), ("year", 366)):
        longer = f"select tailnum, date_trunc('{unit}', landed_at) as landed_at, arr_delay from {LEGS}"
        assert leaks(tmp_path, longer, delay=f"{days} days") == set(), unit
        assert leaks(tmp_path, longer, delay=f"{days * 24 - 1} hours") == {"FL214"}, unit
    with_loaded = f"select tailnum, date_trunc('day', landed_at) as landed_at, loaded_at, arr_delay from {LEGS}"
    columns = {"loaded_at": column("timestamp")}
    assert leaks(tmp_path, with_loaded, delay=None, available_at="loaded_at", columns=columns) == set()


def test_a_group_of_one_unique_thing_is_not_of_all_time(tmp_path):
    test = {
        "unique_id": "test.shop.unique_leg",
        "name": "unique",
        "resource_type": "test",
        "attached_node": "model.shop.stg",
        "column_name": "leg",
        "test_metadata": {"name": "unique", "kwargs": {"column_name": "leg"}},
        "config": {"enabled": True},
    }
    stg = plain("stg", f"select * from {LEGS}")
    sql = (
        "select e.tailnum, e.landed_at, m.n as arr_delay from db.main.stg e "
        "join (select leg, count(*) as n from db.main.stg group by leg) m on m.leg = e.leg"
    )
    assert leaks(tmp_path, sql, stg, parents=("model.shop.stg",)) == {"FL215"}
    assert leaks(tmp_path, sql, stg, test, parents=("model.shop.stg",)) == set()


def test_a_seed_a_snapshot_and_a_static_view_are_no_current_state(tmp_path):
    sql = f"select e.tailnum, e.landed_at, p.seats as arr_delay from {LEGS} e join db.main.planes p using (tailnum)"
    planes = plain("planes", f"select tailnum, seats from {PLANES}")
    assert leaks(tmp_path, sql, planes, parents=("model.shop.planes",)) == {"FL216"}
    seed = {**planes, "unique_id": "seed.shop.planes", "resource_type": "seed", "compiled_code": None,
            "columns": {"tailnum": {"name": "tailnum"}, "seats": {"name": "seats"}}}  # fmt: skip
    assert leaks(tmp_path, sql, seed, parents=("seed.shop.planes",)) == set()


INCREMENTAL = """select tailnum, landed_at, loaded_at, arr_delay from raw.legs
{% if is_incremental() %}
where {column} > (select max({column}){more} from {{ this }})
{% endif %}"""


@pytest.mark.parametrize(
    ("column_name", "more", "found"),
    [("landed_at", "", {"FL217"}), ("loaded_at", "", set()), ("landed_at", " - interval 3 days", set())],
)
def test_a_watermark_of_event_time_loses_late_rows(tmp_path, column_name, more, found):
    raw = INCREMENTAL.replace("{column}", column_name).replace("{more}", more)
    full = f"select tailnum, landed_at, loaded_at, arr_delay from {LEGS}"
    node = {"raw_code": raw}
    config = {"materialized": "incremental"}
    assert leaks(tmp_path, full, node=node, config=config) == found
    above = plain("stg", full, config=config, raw_code=raw)
    sql = "select tailnum, landed_at, arr_delay from db.main.stg"
    assert leaks(tmp_path, sql, above, parents=("model.shop.stg",)) == found


LABELS = f"select leg, tailnum, landed_at as predicted_at, origin, arr_delay > 15 as is_late from {LEGS}"


def labels(**columns: dict) -> dict:
    declared = {
        name: {"name": name, **columns.get(name, {})}
        for name in ("leg", "tailnum", "predicted_at", "origin", "is_late")
    }
    return {**plain("late_labels", LABELS), "columns": declared}


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("select tailnum, predicted_at as landed_at, is_late as arr_delay from db.main.late_labels", {"FL218"}),
        ("select tailnum, predicted_at as landed_at, count(*) over (partition by tailnum order by predicted_at) "
         "as arr_delay from db.main.late_labels where is_late", {"FL218"}),
        ("select tailnum, predicted_at as landed_at, epoch(predicted_at) as arr_delay from db.main.late_labels", set()),
        (f"select tailnum, landed_at, arr_delay > 15 as arr_delay from {LEGS}", set()),
    ],
)  # fmt: skip
def test_a_feature_made_of_a_label(tmp_path, sql, found):
    exposure = service(labels="late_labels", label_timestamp="predicted_at")
    assert leaks(tmp_path, sql, labels(), parents=("model.shop.late_labels",), exposures=(exposure,)) == found


def test_only_tagged_columns_of_a_model_of_labels_are_labels(tmp_path):
    exposure = service(labels="late_labels", label_timestamp="predicted_at")
    of_origin = "select tailnum, predicted_at as landed_at, length(origin) as arr_delay from db.main.late_labels"
    of_label = "select tailnum, predicted_at as landed_at, cast(is_late as int) as arr_delay from db.main.late_labels"
    more = {"parents": ("model.shop.late_labels",), "exposures": (exposure,)}
    assert leaks(tmp_path, of_origin, labels(), **more) == {"FL218"}
    tagged = labels(is_late={"tags": ["label"]})
    assert leaks(tmp_path, of_origin, tagged, **more) == set()
    assert leaks(tmp_path, of_label, tagged, **more) == {"FL218"}
    assert leaks(tmp_path, of_label, tagged, parents=("model.shop.late_labels",)) == {"FL218"}, "without a service, too"


@pytest.mark.parametrize(("read", "found"), [("ref('legs')", {"FL201"}), ("ref('legs').render()", set())])
def test_a_microbatch_that_reads_a_view(tmp_path, read, found):
    batch = plain("training", "select 1", raw_code=f"select *\nfrom {{{{ {read} }}}}",
                  config={"materialized": "incremental", "incremental_strategy": "microbatch"})  # fmt: skip
    node = sql_of(f"select tailnum, landed_at, arr_delay from {LEGS}")["node"]
    report = lint(write(tmp_path, view(node=node), batch, sources=SOURCES), (), ("FL201",))
    assert {hit.code for hit in report.findings} == found
    assert [(hit.file, hit.line) for hit in report.findings] == ([("models/training.sql", 2)] if found else [])


DUPLICATES = [
    ("avg(arr_delay) over w", "sum(arr_delay) over w / count(arr_delay) over w", True),
    ("arr_delay * 2 + leg", "leg + (2 * arr_delay)", True),
    ("arr_delay", "arr_delay + 0", False),
    ("count(*) over w", "count(1) over w", True),
    ("sum(case when origin = 'A' then 1 end) over w", "sum(1) filter (where origin = 'A') over w", True),
]


@pytest.mark.parametrize(("one", "other", "same"), DUPLICATES)
def test_two_names_for_one_computation(tmp_path, one, other, same):
    window = "window w as (partition by tailnum order by landed_at)"
    first = view(node=sql_of(f"select tailnum, landed_at, {one} as arr_delay from {LEGS} {window}")["node"])
    second = view("waits", columns={"wait": described(description="Another.")},
                  node=sql_of(f"with e as (select * from {LEGS}) select tailnum, landed_at, {other} as wait, "
                              f"1 as arr_delay from e {window}")["node"])  # fmt: skip
    found = lint(write(tmp_path, first, second, sources=SOURCES), (), ("FL630",)).findings
    assert [(hit.code, hit.name) for hit in found] == ([("FL630", "waits.wait")] if same else [])
    if same:
        assert "legs.arr_delay" in found[0].message
        assert [line for line in found[0].details if not line.startswith(" ")] == ["legs.arr_delay", "waits.wait"]


@pytest.mark.parametrize("constant", ["false", "null", "cast(null as double)", "0", "'none'", "1 + 1"])
def test_constants_are_no_duplicates(tmp_path, constant):
    sql = f"select tailnum, landed_at, {constant} as arr_delay, {constant} as wait from {LEGS}"
    one = view(columns={"wait": described(description="Another.")}, node=sql_of(sql)["node"])
    assert lint(write(tmp_path, one, sources=SOURCES), (), ("FL630",)).findings == ()


def test_a_view_that_passes_on_another_ones_feature(tmp_path):
    first = view(node=sql_of(f"select tailnum, landed_at, arr_delay * 2 as arr_delay from {LEGS}")["node"])
    sql = "select tailnum, landed_at, arr_delay as wait, 1 as arr_delay from db.main.legs"
    second = view(
        "waits", columns={"wait": described(description="Another.")}, node=sql_of(sql, "model.shop.legs")["node"]
    )
    found = lint(write(tmp_path, first, second, sources=SOURCES), (), ("FL630",)).findings
    assert [hit.name for hit in found] == ["waits.wait"]
    replaced = described(description="Another.", deprecated={"replaced_by": "legs.arr_delay"})
    second = view("waits", columns={"wait": replaced}, node=sql_of(sql, "model.shop.legs")["node"])
    assert lint(write(tmp_path, first, second, sources=SOURCES), (), ("FL630",)).findings == ()


def test_the_bad_project_has_every_leak_that_was_put_into_it(tmp_path):
    fixture = Path(__file__).parents[1] / "fixtures" / "bad_project"
    folder = Path(shutil.copytree(fixture / "project", tmp_path / "project"))
    (folder / "target").mkdir()
    shutil.copy(fixture / "manifest.json", folder / "target")
    report = lint(load_project(folder), checks=("FL201", "FL21", "FL22", "FL63"))
    assert {(found.code, found.name) for found in report.findings} == {
        ("FL201", "customer_spend"),
        *((f"FL{number}", "customer_leaks") for number in (210, 211, 212, 213, 215, 216, 217)),
        ("FL214", "store_days"),
        ("FL218", "customer_leaks.customer_state"),
        ("FL630", "store_days.amount_lost_sum_1d"),
    }
    for found in report.findings:
        if found.file.endswith(".sql") and found.line:
            line = (folder / found.file).read_text().splitlines()[found.line - 1]
            assert set(re.findall(r"\w+", found.message.lower())) & set(re.findall(r"\w{3,}", line.lower())), found
