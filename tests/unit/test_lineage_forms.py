"""Forms of SQL that are easily taken for another one: what is told apart, and what is refused rather than guessed."""

from __future__ import annotations

import pytest

from featurelayer.lineage import ColumnKind
from featurelayer.lint import lint
from tests.unit.linting import asked_tests, described, view, write
from tests.unit.test_lineage import fingerprint, lineage, model

DIFFERENT = {
    "the fields of a struct": ("select home.geo.lat as x from raw.users", "select work.geo.lat as x from raw.users"),
    "its last field": ("select home.geo.lat as x from raw.users", "select home.geo.lon as x from raw.users"),
    "its middle field": ("select u.home.geo.lat as x from raw.users u", "select u.home.old.lat as x from raw.users u"),
    "five parts": ("select u.a.b.c.d as x from raw.users u", "select u.a.b.c.e as x from raw.users u"),
    "a path of JSON by case": ("select j ->> '$.x' as x from raw.users", "select j ->> '$.X' as x from raw.users"),
    "a subscript": ("select l[1] as x from raw.users", "select l[2] as x from raw.users"),
    "a sample": ("select amount as x from raw.orders", "select amount as x from raw.orders using sample 10%"),
    "a sample of a table": ("select amount as x from raw.orders", "select amount as x from raw.orders tablesample 10%"),
    "a sample of a subquery": ("select x from (select amount as x from raw.orders)",
                               "select x from (select amount as x from raw.orders) tablesample 10%"),
    "a sample of another size": ("select amount as x from raw.orders using sample 10%",
                                 "select amount as x from raw.orders using sample 20%"),
    "rows made of one": ("select amount as x from raw.orders",
                         "select amount as x, unnest([1, 2]) as y from raw.orders"),
    "days and months": ("select at + interval 1 day + interval 1 month as x from raw.orders",
                        "select at + interval 1 month + interval 1 day as x from raw.orders"),
    "union by name": ("select amount as x, fee as y from raw.orders union all select id as y, 1 as x from raw.orders",
                      "select amount as x, fee as y from raw.orders union all by name select id as y, 1 as x "
                      "from raw.orders"),
    "the branches of a recursion": (
        "with recursive r as (select id, amount as x from raw.orders union all select id + 1, x from r where id < 9) "
        "select x from r",
        "with recursive r as (select id, amount as x from raw.orders union select id + 1, x from r where id < 9) "
        "select x from r"),
    "any join": ("select o.amount as x from raw.orders o left join raw.customers c using (customer)",
                 "select o.amount as x from raw.orders o semi join raw.customers c using (customer)"),
    "rollup": ("select sum(amount) as x from raw.orders group by customer",
               "select sum(amount) as x from raw.orders group by rollup (customer)"),
    "except and intersect": ("select amount as x from raw.orders except select fee from raw.orders",
                             "select amount as x from raw.orders intersect select fee from raw.orders"),
    "an excluded row of a frame": (
        "select sum(amount) over (order by id rows between 1 preceding and 1 following) as x from raw.orders",
        "select sum(amount) over (order by id rows between 1 preceding and 1 following exclude current row) as x "
        "from raw.orders"),
    "a filter of a window": ("select count(*) over (order by id) as x from raw.orders",
                             "select count(*) filter (where fee > 1) over (order by id) as x from raw.orders"),
    "an order in an aggregate": ("select list(amount order by id) as x from raw.orders",
                                 "select list(amount order by fee) as x from raw.orders"),
    "a version of a table": ("select amount as x from raw.orders",
                             "select amount as x from raw.orders at (timestamp => timestamp '2026-01-01')"),
}  # fmt: skip


@pytest.mark.parametrize(("one", "other"), DIFFERENT.values(), ids=list(DIFFERENT))
def test_different_forms_have_different_fingerprints(one: str, other: str) -> None:
    assert fingerprint(one) != fingerprint(other)


SOURCES = {
    "a struct": ("select home.geo.lat as x from raw.users", {"home"}),
    "a struct of a table": ("select u.home.geo.lat as x from raw.users u", {"home"}),
    "a struct of a table, deeper": ("select u.home.geo.lat.deg as x from raw.users u", {"home"}),
    "a struct under its schema": ("select raw.users.home as x from raw.users", {"home"}),
    "a struct in an expression": ("select coalesce(home.geo.lat, work.geo.lat) as x from raw.users", {"home", "work"}),
    "a struct through a CTE": ("with a as (select home from raw.users) select a.home.geo.lat as x from a", {"home"}),
    "a row": ("with a as (select id, fee from raw.orders) select to_json(a) as x from a", {"id", "fee"}),
    "all columns of a row": ("with a as (select id, fee from raw.orders) select hash(a.*) as x from a", {"id", "fee"}),
    "an alias in a filter": ("select amount + fee as y, 1 as x from raw.orders where y > 2", {"amount", "fee", "y"}),
    "an alias that is a column": ("select id, amount + fee as at, 1 as x from raw.orders where at > 2", {"at"}),
    "an alias over its column": ("select id, lower(tier) as tier, 1 as x from raw.orders where tier = 'a'", {"tier"}),
    "an alias of an alias": ("select amount as y, y + 1 as z, z * 2 as x from raw.orders", {"amount"}),
    "the keys of a natural join": (
        "with a as (select customer, amount as x from raw.orders), b as (select customer, id from raw.orders) "
        "select x from a natural join b", {"amount", "customer"}),
    "what is distinct": ("select distinct amount as x, fee from raw.orders", {"amount", "fee"}),
    "what is taken away": ("select amount as x, fee from raw.orders except select id, state from raw.orders",
                           {"amount", "fee", "id", "state"}),
    "unnest": ("select 1 as x, unnest(l) from raw.users", {"l"}),
    "a table function": ("select g.n as x from raw.users u, generate_series(1, u.seats) g(n)", {"seats"}),
    "a lateral": ("select v.x from raw.users u, lateral (select u.seats + 1 as x) v", {"seats"}),
    "a column that moves in a recursion": (
        "with recursive r as (select id, amount as x, fee as y, at as z from raw.orders "
        "union all select id, y, z, z from r) select x from r", {"amount", "fee", "at", "id"}),
    "the last column of a full join": (
        "select customer as x from raw.orders full join (select customer, at from raw.customers) c using (customer)",
        {"customer"}),
    "renamed under a star": ("select x from (select * rename (amount as x) from raw.events)", {"amount"}),
}  # fmt: skip


@pytest.mark.parametrize(("sql", "expected"), SOURCES.values(), ids=list(SOURCES))
def test_sources_are_found_through_it(sql: str, expected: set[str]) -> None:
    found = lineage(model("m", sql))
    assert not found.problems
    of = found.column("model.shop.m", "x")
    assert of is not None
    assert {source.column for source in (*of.sources, *of.row_sources)} == expected


REFUSED = {
    "an inline pivot": ("select * from raw.orders pivot (sum(fee) for state in ('a', 'b'))", "PIVOT is not followed"),
    "a pivot of a subquery": ("select * from (select * from raw.orders) pivot (sum(fee) for state in ('a'))",
                              "PIVOT is not followed"),
    "a pivot in a CTE": ("with p as (select * from raw.orders pivot (sum(fee) for state in ('a'))) select a x from p",
                         "PIVOT is not followed"),
    "unpivot": ("select * from raw.orders unpivot (x for kind in (amount, fee))", "UNPIVOT is not followed"),
    "a statement": ("pivot raw.orders on state using sum(amount)", "PIVOT"),
    "a positional join": ("select o.amount as x from raw.orders o positional join raw.customers c", "positional"),
    "columns by a pattern": ("select columns('a.*') from raw.orders", "is not followed"),
    "an expression over columns": ("select sum(columns(*)) from raw.orders", "is not followed"),
    "names like": ("select * like 'a%' from raw.orders", "is not followed"),
    "the fields of a struct": ("select home.* from (select home from raw.users)", "is not followed"),
    "a row of unknown columns": ("select to_json(u) as x from raw.events u", "not all known"),
    "a natural join of unknown columns": ("select x from raw.events natural join raw.users", "not all known"),
    "a union by place of unknown columns": ("select amount as x from raw.orders union all select * from raw.events",
                                            "not all known"),
    "names by place of unknown columns": ("select x from raw.events as e(x, y)", "not all known"),
    "group by all of a star": ("select *, count(*) as x from (select id from raw.orders) group by all", "GROUP BY ALL"),
}  # fmt: skip


@pytest.mark.parametrize(("sql", "problem"), REFUSED.values(), ids=list(REFUSED))
def test_what_can_not_be_followed_is_a_problem(sql: str, problem: str) -> None:
    found = lineage(model("m", sql))
    assert problem in found.problems["model.shop.m"]
    assert found.output("model.shop.m") is None


def test_lint_reports_what_can_not_be_followed(tmp_path):
    sql = "select tailnum, landed_at, arr_delay from src.flights pivot (max(x) for k in ('arr_delay'))"
    written = write(tmp_path, view(node={"compiled_code": sql}), *asked_tests())
    (found,) = lint(written, (), ("FL220",)).findings
    assert "PIVOT is not followed" in found.message


def test_two_fields_of_structs_are_no_duplicates(tmp_path):
    sql = "select tailnum, landed_at, home.geo.lat as arr_delay, work.geo.lat as seats from src.flights"
    node = view(node={"compiled_code": sql}, columns={"seats": described()})
    assert lint(write(tmp_path, node, *asked_tests()), (), ("FL630", "FL310")).findings == ()
    node["compiled_code"] = sql.replace("work", "home")
    assert len(lint(write(tmp_path, node, *asked_tests()), (), ("FL630",)).findings) == 1


def test_a_union_of_constants_and_a_column_is_an_expression_of_all() -> None:
    sql = "select 'a' as x from raw.orders union all select state from raw.orders union all select null from raw.orders"
    of = lineage(model("m", sql)).column("model.shop.m", "x")
    assert of is not None
    assert of.kind is ColumnKind.EXPRESSION
    assert sorted(of.sql.split(" | ")) == ["'a'", "NULL", "state"]
    assert {source.column for source in of.sources} == {"state"}
    plain = "select state as x from raw.orders union all select country from raw.customers"
    of = lineage(model("m", plain)).column("model.shop.m", "x")
    assert of is not None
    assert of.kind is ColumnKind.PASSTHROUGH


@pytest.mark.parametrize(
    ("dialect", "one", "other"),
    [
        ("clickhouse", "select o.amount as x from raw.orders o any left join raw.customers c using (customer)",
         "select o.amount as x from raw.orders o left join raw.customers c using (customer)"),
        ("clickhouse", "select amount as x from raw.orders prewhere fee > 1", "select amount as x from raw.orders"),
        ("snowflake", "select amount as x from raw.orders sample (10)", "select amount as x from raw.orders"),
        ("snowflake", "select amount as x from raw.orders at (offset => -60)", "select amount as x from raw.orders"),
        ("bigquery", "select amount as x from raw.orders tablesample system (10 percent)",
         "select amount as x from raw.orders"),
        ("bigquery", "select amount as x from raw.orders for system_time as of '2026-01-01'",
         "select amount as x from raw.orders"),
        ("spark", "select amount as x from raw.orders tablesample (10 percent)", "select amount as x from raw.orders"),
        ("postgres", "select amount as x from raw.orders tablesample bernoulli (10)",
         "select amount as x from raw.orders"),
        ("postgres", "select amount as x, generate_series(1, 3) as n from raw.orders",
         "select amount as x, 3 as n from raw.orders"),
        ("postgres", "select amount as x from only raw.orders", "select amount as x from raw.orders"),
    ],
)  # fmt: skip
def test_forms_of_other_engines_are_told_apart_or_refused(dialect: str, one: str, other: str) -> None:
    def found(sql: str) -> str | None:
        of = lineage(model("m", sql), dialect=dialect).column("model.shop.m", "x")
        return of.fingerprint if of is not None else None

    assert found(other) is not None
    assert found(one) != found(other)


def test_a_change_in_a_pivoted_model_is_no_change_that_those_below_deny() -> None:
    """What is not followed is where lineage ends, so that nobody takes the models below for the same."""
    reader = model("m", "select a as x from shop.main.p", "p")
    pivoted = model("p", "select * from raw.orders pivot (sum(fee) for state in ('a'))")
    found = lineage(pivoted, reader)
    assert set(found.problems) == {"model.shop.p"}
    of = found.column("model.shop.m", "x")
    assert of is not None
    assert [str(source) for source in of.sources] == ["shop.main.p.a"]
