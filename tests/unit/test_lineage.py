"""Column lineage: sources, steps, fingerprints across models, and SQL that can't be followed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from featurelayer.lineage import ColumnKind, CompileRun, Lineage, SourceColumn, SqlModel, analyse

ORDERS = SqlModel(
    unique_id="source.shop.orders",
    relation_name='"raw"."orders"',
    columns=tuple((name, "") for name in ("id", "customer", "amount", "fee", "state", "at", "loaded_at")),
)
CUSTOMERS = SqlModel(
    unique_id="source.shop.customers",
    relation_name='"raw"."customers"',
    columns=(("customer", "bigint"), ("country", "text"), ("at", "timestamp")),
)


def model(name: str, sql: str, *parents: str, **more: object) -> SqlModel:
    return SqlModel(
        unique_id=f"model.shop.{name}",
        relation_name=f'"shop"."main"."{name}"',
        sql=sql,
        depends_on=("source.shop.orders", "source.shop.customers", *(f"model.shop.{parent}" for parent in parents)),
        **more,  # type: ignore[arg-type]
    )


def lineage(*models: SqlModel, dialect: str = "duckdb", run: CompileRun | None = None) -> Lineage:
    return analyse([ORDERS, CUSTOMERS, *models], dialect=dialect, run=run)


def fingerprint(sql: str, column: str = "x", dialect: str = "duckdb") -> str:
    found = lineage(model("m", sql), dialect=dialect)
    assert not found.problems
    of = found.column("model.shop.m", column)
    assert of is not None
    return of.fingerprint


def test_sources_and_steps_lead_through_ctes_and_joins() -> None:
    sql = """
        with paid as (select id, customer, amount - fee as net, at from raw.orders o where state = 'paid'),
        totals as (select p.customer, c.country, sum(net) as total from paid p
                   join raw.customers c on c.customer = p.customer group by 1, 2)
        select customer, total * 2 as x, country from totals
    """
    of = lineage(model("m", sql)).column("model.shop.m", "X")
    assert of is not None
    assert of.kind is ColumnKind.EXPRESSION
    assert {str(source) for source in of.sources} == {"raw.orders.amount", "raw.orders.fee"}
    assert [str(step) for step in of.steps] == [
        "expression in paid: amount - fee as net",
        "aggregate in totals: SUM(net) as total",
        "expression: total * 2 as x",
    ]
    assert [str(step) for step in of.row_steps] == [
        "filter in paid: state = 'paid'",
        "join in totals: JOIN raw.customers AS c ON c.customer = p.customer",
        "group in totals: customer, country",
    ]
    assert {source.column for source in of.row_sources} == {"state", "customer", "country"}


def test_names_of_our_macros_are_told_as_what_they_stand_for() -> None:
    found = lineage(
        model(
            "rolling",
            """with fl_events as (
                select customer, at as fl_at, (amount) as fl_x1, case when state = 'late' then 1.0 else 0.0 end as fl_x2
                from raw.orders
            ), fl_timeline as (
                select *, true as fl_is_point from fl_events
                union all select customer, fl_at, null, null, false from fl_events
            ), fl_ranged as (
                select customer, sum(fl_x1) over fl_7d as amount_7d, avg(fl_x2) over fl_7d as late_7d, fl_unknown as odd
                from fl_timeline
                window fl_7d as (partition by customer order by fl_at range interval 7 days preceding)
            ) select * from fl_ranged""",
        )
    )
    said = {name: column.sql for name, column in found.columns("model.shop.rolling").items()}
    assert said["amount_7d"] == "SUM(amount) OVER last_7d"
    assert said["late_7d"] == "AVG(CASE WHEN state = 'late' THEN 1.0 ELSE 0.0 END) OVER last_7d"
    assert said["odd"] == "fl_unknown"


def test_ancestors_go_through_models_to_the_sources() -> None:
    found = lineage(
        model("stg", "select id, customer as who, amount * 100 as cents from raw.orders"),
        model("mid", "select who, cents from shop.main.stg", "stg"),
        model("top", 'select who, sum("CENTS") as x from shop.main.mid group by who', "mid"),
    )
    above = found.ancestors("model.shop.top", "x")
    assert {str(source) for source in above} == {
        "shop.main.mid.cents",
        "shop.main.stg.cents",
        "raw.orders.amount",
    }
    assert [each.unique_id for each in found.upstream("model.shop.top", "x")] == [
        "model.shop.top",
        "model.shop.mid",
        "model.shop.stg",
    ]
    graph = found.graph("model.shop.top", "x")
    assert graph.nodes[0] == SourceColumn(relation="shop.main.top", column="x", unique_id="model.shop.top")
    assert len(graph.nodes) == 4
    assert [edge.kind for edge in graph.edges] == [ColumnKind.AGGREGATE, ColumnKind.PASSTHROUGH, ColumnKind.EXPRESSION]


def test_one_computation_has_one_fingerprint_across_models() -> None:
    found = lineage(
        model("stg", "select id, customer, amount, at from raw.orders where state = 'paid'"),
        model("a", "select customer, sum(amount) as total from shop.main.stg group by 1", "stg"),
        model("b", "with p as (select * from raw.orders) select customer, sum(amount) as spent from p "
                   "where p.state = 'paid' group by customer"),
        model("c", "select customer as who, total as same from shop.main.a", "a"),
        model("d", "select customer, sum(amount) as total from raw.orders where state = 'open' group by 1"),
    )  # fmt: skip
    prints = [
        found.column(f"model.shop.{name}", column).fingerprint  # type: ignore[union-attr]
        for name, column in (("a", "total"), ("b", "spent"), ("c", "same"), ("d", "total"))
    ]
    assert prints[0] == prints[1] == prints[2] != prints[3]


SAME = [
    ("select avg(amount) over (partition by customer order by at) as x from raw.orders",
     "select sum(amount) over w / count(amount) over w as x from raw.orders "
     "window w as (partition by customer order by at)"),
    ("select amount as x from (raw.orders o join raw.customers c on o.customer = c.customer) where fee > 1",
     "select amount as x from raw.orders o join raw.customers c on o.customer = c.customer and o.fee > 1"),
    ("select (amount + fee) * 2 as x from raw.orders",
     "with s as (select fee + amount as s from raw.orders) select 2 * s as x from s"),
    ("select fee + amount + id as x from raw.orders",
     "with s as (select id + amount as s, fee from raw.orders) select fee + s as x from s"),
    ("select avg(amount) as x from raw.orders group by customer",
     "select total / n as x from (select sum(amount) as total, count(amount) as n from raw.orders group by customer)"),
    ("select count(*) filter (where fee > 1) as x from raw.orders group by customer",
     "select count(case when fee > 1 then 1 end) as x from raw.orders group by customer"),
    ("select amount as x from raw.orders where fee > 1 and id < 2",
     "select amount as x from (select *, fee > 1 and id < 2 as good from raw.orders) where good"),
    ("select amount + fee as x from raw.orders", "select (fee + (amount)) as x -- both\n from raw.orders o"),
    ("select amount as x from raw.orders where amount > 5 and fee < 1",
     "select amount as x from (select * from raw.orders where 1 > fee) where 5 < amount"),
    ("select amount as x from raw.orders where fee between 1 and 2",
     "select amount as x from raw.orders where fee >= 1 and not fee > 2"),
    ("select amount as x from raw.orders where not (state = 'a' or state = 'b')",
     "select amount as x from raw.orders where state <> 'b' and state != 'a'"),
    ("select amount as x from raw.orders where state in ('a', 'b')",
     "select amount as x from raw.orders where state in ('b', 'a')"),
    ("select count(*) as x from raw.orders group by customer",
     "select count(1) as x from raw.orders group by customer"),
    ("select sum(amount) filter (where state = 'a') as x from raw.orders group by customer",
     "select sum(case when state = 'a' then amount end) as x from raw.orders group by customer"),
    ("select distinct customer as x from raw.orders", "select customer as x from raw.orders group by 1"),
    ("select sum(amount) / count(amount) as x from raw.orders group by customer",
     "select avg(amount) as x from raw.orders group by customer"),
    ("select sum(amount) as x from raw.orders group by customer having count(*) > 2",
     "select x from (select sum(amount) as x, count(*) as n from raw.orders group by customer) where n > 2"),
    ("select o.amount as x from raw.orders o join raw.customers c on o.customer = c.customer and c.country = 'a'",
     "select o.amount as x from raw.customers c, raw.orders o where o.customer = c.customer and c.country = 'a'"),
    ("select o.amount as x from raw.orders o join raw.customers c using (customer)",
     "select b.amount as x from raw.orders b join raw.customers as a on a.customer = b.customer"),
    ("select sum(amount) over (partition by customer order by at) as x from raw.orders",
     "select sum(amount) over w as x from raw.orders window w as (partition by customer order by at "
     "range between unbounded preceding and current row)"),
    ("select amount as x from raw.orders qualify row_number() over (partition by id order by at desc) = 1",
     "select amount as x from (select amount, row_number() over (partition by id order by at desc) as n "
     "from raw.orders) where 1 = n"),
    ("select amount as x from raw.orders union all select fee from raw.orders where fee > 1",
     "with a as (select fee as f from raw.orders where fee > 1), b as (select amount as x from raw.orders) "
     "select * from (select f as x from a union all select x from b)"),
    ("select case state when 'a' then 1 else 0 end as x from raw.orders",
     "select if(state = 'a', 1, 0) as x from raw.orders"),
    ("select cast(amount as double) as x from raw.orders",
     "select (amount::double)::double as x from raw.orders"),
    ("select country as x from raw.customers", "select cast(country as varchar) as x from raw.customers"),
    ("select at + interval '2 hours' as x from raw.orders", "select at + interval 2 hour as x from raw.orders"),
    ("select (select max(amount) from raw.orders o where o.customer = c.customer) as x from raw.customers c",
     "select (select max(i.amount) from raw.orders i where d.customer = i.customer) as x from raw.customers d"),
    ("select customer as x from raw.orders where exists (select 1 from raw.customers c where c.at = orders.at)",
     "select o.customer as x from raw.orders o where exists (select * from raw.customers where customers.at = o.at)"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), SAME)
def test_spellings_of_one_computation(one: str, other: str) -> None:
    assert fingerprint(one) == fingerprint(other)


DIFFERENT = [
    ("select avg(amount) over (partition by customer order by at) as x from raw.orders",
     "select sum(amount) over (partition by customer order by at) / count(amount) over () as x from raw.orders"),
    ("select amount as x from raw.orders where fee > 5", "select amount as x from raw.orders where fee >= 5"),
    ("select amount - fee as x from raw.orders", "select fee - amount as x from raw.orders"),
    ("select (amount + fee) * 2 as x from raw.orders", "select amount + fee * 2 as x from raw.orders"),
    ("select 'a & b' as x from raw.orders", "select 'b & a' as x from raw.orders"),
    ("select sum(amount) as x from raw.orders group by customer",
     "select sum(amount) as x from raw.orders group by customer, state"),
    ("select sum(amount) as x from raw.orders group by customer",
     "select sum(distinct amount) as x from raw.orders group by customer"),
    ("select count(amount) as x from raw.orders group by customer",
     "select count(*) as x from raw.orders group by customer"),
    ("select o.amount as x from raw.orders o join raw.customers c using (customer)",
     "select o.amount as x from raw.orders o left join raw.customers c using (customer)"),
    ("select sum(amount) over (partition by customer order by at) as x from raw.orders",
     "select sum(amount) over (partition by customer order by at rows 3 preceding) as x from raw.orders"),
    ("select sum(amount) over (partition by customer order by at) as x from raw.orders",
     "select sum(amount) over (partition by customer order by at desc) as x from raw.orders"),
    ("select amount as x from raw.orders qualify row_number() over (partition by id order by at desc) = 1",
     "select amount as x from raw.orders qualify row_number() over (partition by id order by at desc, fee) = 1"),
    ("select a.amount as x from raw.orders a join raw.orders b on a.id = b.customer",
     "select b.amount as x from raw.orders a join raw.orders b on a.id = b.customer"),
    ("select amount as x from raw.orders union all select fee from raw.orders",
     "select amount as x from raw.orders union select fee from raw.orders"),
    ("select amount as x from raw.orders", "select distinct amount as x from raw.orders"),
    ("select amount as x from raw.orders", "select amount as x from raw.orders order by at limit 3"),
    ("select cast(amount as double) as x from raw.orders", "select amount as x from raw.orders"),
    ("select coalesce(amount, fee) as x from raw.orders", "select coalesce(fee, amount) as x from raw.orders"),
    ("select sum(amount) over (order by at rows between 3 preceding and current row) as x from raw.orders",
     "select sum(amount) over (order by at range between 3 preceding and current row) as x from raw.orders"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_computations(one: str, other: str) -> None:
    assert fingerprint(one) != fingerprint(other)


def test_division_of_integers_is_no_mean() -> None:
    mean = "select avg(amount) as x from raw.orders group by customer"
    divided = "select sum(amount) / count(amount) as x from raw.orders group by customer"
    assert fingerprint(mean, dialect="postgres") != fingerprint(divided, dialect="postgres")
    exact = "select sum(amount)::double precision / nullif(count(amount), 0) as x from raw.orders group by customer"
    assert fingerprint(mean, dialect="postgres") == fingerprint(exact, dialect="postgres")


def test_a_column_that_is_never_null_counts_rows() -> None:
    tested = SqlModel(unique_id="source.shop.orders", relation_name="raw.orders", not_null=("id",),
                   columns=ORDERS.columns)  # fmt: skip
    counts = [f"select count({what}) as x from raw.orders group by customer" for what in ("id", "*", "amount")]
    found = analyse([tested, *(model(f"m{n}", sql) for n, sql in enumerate(counts))], dialect="duckdb")
    prints = [found.column(f"model.shop.m{n}", "x").fingerprint for n in range(3)]  # type: ignore[union-attr]
    assert prints[0] == prints[1] != prints[2]


def test_the_time_of_the_run_is_no_part_of_the_meaning() -> None:
    sql = "select amount as x from raw.orders where at <= cast('2026-01-0{day} 10:00:00.123456' as timestamp)"
    prints = set()
    for day in (1, 2):
        run = CompileRun(start=datetime(2026, 1, day, 9, tzinfo=UTC), end=datetime(2026, 1, day, 11, tzinfo=UTC))
        of = lineage(model("m", sql.format(day=day)), run=run).column("model.shop.m", "x")
        assert of is not None
        prints.add(of.fingerprint)
    assert len(prints) == 1
    assert fingerprint(sql.format(day=1)) != fingerprint(sql.format(day=2))


def test_an_incremental_run_means_what_a_full_one_does() -> None:
    full = "select amount as x, at from raw.orders"
    increment = full + " where at > (select max(at) from shop.main.m)"
    assert fingerprint(full) == fingerprint(increment)


def test_a_microbatch_means_what_all_batches_do() -> None:
    cut = "(select * from raw.orders where at >= '2026-01-01' and at < '2026-01-02') as o"
    whole = lineage(model("m", "select amount as x from raw.orders as o"))
    batch = lineage(model("m", f"select amount as x from {cut}", batch=True))
    assert whole.column("model.shop.m", "x").fingerprint == batch.column("model.shop.m", "x").fingerprint  # type: ignore[union-attr]


def test_a_snapshot_has_columns_of_its_own_and_other_rows() -> None:
    snapshot = model("s", "select customer, country from raw.customers", history=True)
    reader = model("m", "select country as x, dbt_valid_from from shop.main.s", "s")
    found = lineage(snapshot, reader)
    of, since = (found.column("model.shop.m", name) for name in ("x", "dbt_valid_from"))
    assert of is not None
    assert since is not None
    assert [str(source) for source in since.sources] == ["shop.main.s.dbt_valid_from"]
    assert of.fingerprint != fingerprint("select country as x from raw.customers")


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("selekt 1", "can't be parsed"),
        ("select (" * 3000 + "1" + ")" * 3000, "can't be"),
        ("select " + "||".join(["amount"] * 30_000) + " as x from raw.orders", "can't be"),
        ("select " + "case when id > 1 then " * 200 + "1" + " end" * 200 + " as x from raw.orders", "nested too deep"),
        ("select '" + "x" * 2_000_000 + "' as x", "characters"),
        ("select amount as x from (raw.orders join raw.customers using (customer)) both_of", "join in brackets"),
        ("insert into a select 1", "it is no SELECT"),
        ("", ""),
        ("\x00\x01", "can't be"),
    ],
)  # fmt: skip
def test_sql_that_cannot_be_followed_is_a_problem_of_its_model_alone(sql: str, problem: str) -> None:
    reader = SqlModel(unique_id="model.shop.r", relation_name="shop.main.r", sql="select x from shop.main.m",
                   depends_on=("model.shop.m",))  # fmt: skip
    found = lineage(model("m", sql), reader)
    assert problem in found.problems.get("model.shop.m", "")
    assert set(found.problems) <= {"model.shop.m"}
    of = found.column("model.shop.r", "x")
    assert of is not None
    assert [str(source) for source in of.sources] == ["shop.main.m.x"]


def test_columns_that_double_in_each_cte_end() -> None:
    ctes = ["c0 as (select 1 as a0)"]
    for n in range(1, 40):
        names = f"l.*, r.* rename (a{n - 1} as b{n - 1}), 1 as a{n}"
        ctes.append(f"c{n} as (select {names} from c{n - 1} l join c{n - 1} r on true)")
    found = lineage(model("m", f"with {', '.join(ctes)} select * from c39"))
    assert found.columns("model.shop.m") or "more than" in found.problems["model.shop.m"]


def test_a_star_brings_declared_columns_of_a_source_that_declares_few() -> None:
    stg = model(
        "stg", "with e as (select * from raw.events) select * from e where kind = 'a'", columns=(("tariff", ""),)
    )
    of = lineage(stg, model("m", "select tariff * 2 as x from shop.main.stg", "stg")).column("model.shop.stg", "tariff")
    assert of is not None
    assert [str(source) for source in of.sources] == ["raw.events.tariff"]


def test_models_in_a_circle_are_named() -> None:
    found = lineage(
        model("a", "select x from shop.main.b", "b"),
        model("b", "select x from shop.main.a", "a"),
        model("c", "select x from shop.main.a", "a"),
    )
    assert set(found.problems) == {"model.shop.a", "model.shop.b", "model.shop.c"}
    assert "depends on itself" in found.problems["model.shop.a"]


def test_no_time_left_is_said() -> None:
    found = analyse([model("m", "select 1 as x")], dialect="duckdb", seconds=0)
    assert "time" in found.problems["model.shop.m"]


def test_a_recursive_cte_ends() -> None:
    sql = """with recursive t as (select customer, amount as x from raw.orders
             union all select t.customer, t.x + o.fee from t join raw.orders o on o.customer = t.customer)
             select x from t"""
    of = lineage(model("m", sql)).column("model.shop.m", "x")
    assert of is not None
    assert {source.column for source in of.sources} == {"amount", "fee"}


@pytest.mark.parametrize(
    ("dialect", "sql"),
    [
        ("snowflake", "select t.value:a::int as x from raw.orders o, lateral flatten(input => o.amount) t"),
        ("bigquery", "select x from `raw`.`orders` o, unnest(o.amount) as x"),
        ("postgres", "select x from raw.orders o cross join lateral (select o.amount * 2 as x) l"),
        ("spark", "select x from raw.orders o lateral view explode(o.amount) e as x"),
        ("duckdb", "select u.v as x from raw.orders o, unnest(o.amount) as u(v)"),
        ("trino", "select u.x from raw.orders o cross join unnest(o.amount) as u(x)"),
        ("duckdb", "select o.amount.cents as x from raw.orders o"),
        ("duckdb", "from raw.orders select amount as x"),
        ("duckdb", "select * exclude (fee) replace (amount * 2 as amount) from raw.orders"),
        ("clickhouse", "select sumIf(amount, state = 'a') as x from raw.orders final group by customer"),
        ("redshift", "select amount as x from raw.orders where at < getdate()"),
    ],
)
def test_forms_of_other_engines(dialect: str, sql: str) -> None:
    found = lineage(model("m", sql), dialect=dialect)
    assert not found.problems
    of = found.column("model.shop.m", "x") or found.column("model.shop.m", "amount")
    assert of is not None
    assert "amount" in {source.column for source in of.sources}
