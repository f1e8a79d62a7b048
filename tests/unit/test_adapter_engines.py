"""What engines that can't run here say of columns and of plans, in the form that their documentation shows."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from sqlglot import exp, parse_one

from featurelayer.model import Column, DType, Kind
from featurelayer.sql.dialects import dialect
from featurelayer.sql.inserts import insert_statements
from featurelayer.warehouse import schema_of
from featurelayer.warehouse.base import Scan
from featurelayer.warehouse.dbt_adapter.cursor_types import columns_of
from featurelayer.warehouse.dbt_adapter.facts import Rows, as_read, facts_of
from featurelayer.warehouse.engines import available, databricks, load_engine, redshift, snowflake, trino
from featurelayer.warehouse.streams import column_of

QUERY = "SELECT 1"


def answers(expected: str, *rows: str) -> Rows:
    """An engine that answers one statement."""

    def asked(sql: str) -> list[tuple[Any, ...]]:
        assert sql == f"{expected} {QUERY}"
        return [(row,) for row in rows]

    return asked


# --- what a query reads -----------------------------------------------------------------------------------------------


def test_snowflake_tells_partitions_and_bytes() -> None:
    table = {"operation": "TableScan", "objects": ["SHOP.MARTS.LEGS"], "expressions": ["TAILNUM", "ARR_DELAY"]}
    scans = [
        {"id": 2, **table, "partitionsTotal": 4000, "partitionsAssigned": 120, "bytesAssigned": 5_000_000},
        {"id": 3, "operation": "TableScan", "objects": ['SHOP.MARTS."__fl_frame_1"'], "bytesAssigned": 900},
    ]
    plan = {
        "GlobalStats": {"partitionsTotal": 4001, "partitionsAssigned": 121, "bytesAssigned": 5_000_900},
        "Operations": [
            [{"id": 0, "operation": "Result", "expressions": ["X"]}, {"id": 1, "operation": "Join"}, *scans]
        ],
    }
    found = snowflake.explain(answers("EXPLAIN USING JSON", json.dumps(plan)), QUERY)
    legs = Scan(relation="SHOP.MARTS.LEGS, 120 of 4,000 partitions", columns=("TAILNUM", "ARR_DELAY"), bytes=5_000_000)
    assert (found.scans, found.bytes) == ((legs,), 5_000_900)


def test_redshift_tells_rows_and_their_width() -> None:
    lines = (
        "XN Hash Right Join DS_DIST_NONE  (cost=1000.00..9000.00 rows=500 width=24)",
        '  Hash Cond: ("outer".tailnum = "inner".tailnum)',
        "  ->  XN Seq Scan on legs f  (cost=0.00..8000.00 rows=700000 width=20)",
        "        Filter: (landed_at IS NOT NULL)",
        "  ->  XN Hash  (cost=10.00..10.00 rows=500 width=12)",
        "        ->  XN Seq Scan on __fl_frame_1 labels  (cost=0.00..5.00 rows=500 width=12)",
    )
    found = redshift.explain(answers("EXPLAIN", *lines), QUERY)
    assert found.scans == (Scan(relation="legs", kept=700_000, bytes=14_000_000),)
    assert (found.bytes, found.text) == (14_000_000, "")
    other = redshift.explain(answers("EXPLAIN", "LD Seq Scan on pg_class  (cost=0..1 rows=1 width=1)"), QUERY)
    assert (other.scans, other.bytes, other.text[:11]) == ((), None, "LD Seq Scan")


def test_databricks_tells_sizes_as_spark_does() -> None:
    plan = (
        "== Optimized Logical Plan ==\n"
        "Project [tailnum#1, arr_delay#2], Statistics(sizeInBytes=10.0 MiB)\n"
        "+- Relation main.marts.legs[tailnum#1,arr_delay#2] parquet, "
        "Statistics(sizeInBytes=20.0 MiB, rowCount=1.5E+6)\n"
        "\n== Physical Plan ==\n*(1) Project\n"
    )
    found = databricks.explain(answers("EXPLAIN COST", plan), QUERY)
    legs = Scan(relation="main.marts.legs", columns=("tailnum", "arr_delay"), rows=1_500_000, bytes=20 * 1024**2)
    assert (found.scans, found.bytes, found.text) == ((legs,), 20 * 1024**2, "")


def test_trino_tells_what_its_connector_knows() -> None:
    def read(table: str, rows: float | str, size: float | str) -> dict[str, Any]:
        place = {"catalog": "lake", "schemaTable": {"schema": "marts", "table": table}}
        return {"table": place, "constraint": {"none": False, "columnConstraints": []},
                "estimate": {"outputRowCount": rows, "outputSizeInBytes": size, "cpuCost": size}}  # fmt: skip

    said = {"inputTableColumnInfos": [read("legs", 2e6, 5e7), read("planes", "NaN", "NaN")], "estimate": {}}
    found = trino.explain(answers("EXPLAIN (TYPE IO, FORMAT JSON)", json.dumps(said)), QUERY)
    assert found.scans == (
        Scan(relation="lake.marts.legs", kept=2_000_000, bytes=50_000_000),
        Scan(relation="lake.marts.planes"),
    )
    assert found.bytes == 50_000_000


# --- names and columns ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "relation", "read"),
    [
        ("snowflake", "shop.marts.legs", '"SHOP"."MARTS"."LEGS"'),
        ("snowflake", 'shop.marts."legs"', '"SHOP"."MARTS"."legs"'),
        ("redshift", '"shop"."marts"."Legs"', '"shop"."marts"."legs"'),
        ("postgres", 'marts."Legs"', '"marts"."Legs"'),
        ("trino", '"lake"."marts"."legs"', '"lake"."marts"."legs"'),
        ("databricks", "`main`.`marts`.`legs`", "`main`.`marts`.`legs`"),
    ],
)
def test_a_relation_is_what_the_engine_reads(kind: str, relation: str, read: str) -> None:
    """dbt writes Snowflake's names without quotes, which are capital letters there."""
    assert as_read(relation, kind).sql(dialect=kind, identify=True) == read


def test_the_schema_of_a_target() -> None:
    assert schema_of({"type": "snowflake", "schema": "dbt_ada"}) == "DBT_ADA"
    assert schema_of({"type": "redshift", "schema": "dbt_ada"}) == "dbt_ada"
    assert schema_of({"type": "duckdb"}) == "main"


def test_columns_of_snowflake() -> None:
    """A cursor's description: name, type's number, two sizes, precision, scale, whether it may be NULL."""
    described = [
        ("N", 0, None, None, 38, 0, True),
        ("AMOUNT", 0, None, None, 12, 2, True),
        ("DELAY", 1, None, None, None, None, True),
        ("TAILNUM", 2, None, 16777216, None, None, True),
        ("DAY", 3, None, None, None, None, True),
        ("DOC", 5, None, None, None, None, True),
        ("LOADED_AT", 7, None, None, 0, 6, True),
        ("LANDED_AT", 8, None, None, 0, 9, True),
        ("TAGS", 10, None, None, None, None, True),
        ("OK", 13, None, None, None, None, True),
        ("SHAPE", 14, None, None, None, None, True),
    ]
    kinds = {
        "N": DType(kind=Kind.INT, bits=64), "AMOUNT": DType(kind=Kind.DECIMAL, precision=12, scale=2),
        "DELAY": DType(kind=Kind.FLOAT, bits=64), "TAILNUM": DType(kind=Kind.TEXT), "DAY": DType(kind=Kind.DATE),
        "DOC": DType(kind=Kind.JSON), "LOADED_AT": DType(kind=Kind.TIMESTAMPTZ),
        "LANDED_AT": DType(kind=Kind.TIMESTAMP),
        "TAGS": DType(kind=Kind.JSON), "OK": DType(kind=Kind.BOOL), "SHAPE": DType(kind=Kind.UNKNOWN),
    }  # fmt: skip
    expected = tuple(Column(name=n, dtype=kind, nanoseconds=n == "LANDED_AT") for n, kind in kinds.items())
    assert columns_of(described, "snowflake") == expected


def rows_of(table: pa.Table) -> list[tuple[Any, ...]]:
    return list(zip(*table.to_pydict().values(), strict=True))


def test_no_statement_is_longer_than_snowflake_takes() -> None:
    """Rows are cut where they are long, and none is lost."""
    texts = ["é😀'" * 20_000 * (at % 5) for at in range(9)]
    table = pa.table({"pk": [str(at) for at in range(9)], "f": texts})
    columns = [column_of(each) for each in table.schema]
    made, *inserts = insert_statements(dialect("snowflake"), "t", table.column_names, columns, rows_of(table))
    assert made.startswith('CREATE TEMPORARY TABLE "t"')
    assert all(len(each.encode()) < 1024**2 for each in inserts)
    rows = [row for each in inserts for row in parse_one(each, dialect="snowflake").find_all(exp.Tuple)]
    assert [(row.expressions[0].name, row.expressions[1].name) for row in rows] == list(
        zip(*table.to_pydict().values(), strict=True)
    )
    small = pa.table({"pk": ["a"] * 1500})
    columns = [column_of(each) for each in small.schema]
    assert len(list(insert_statements(dialect("snowflake"), "t", ["pk"], columns, rows_of(small)))) == 3


def test_what_is_said_parses() -> None:
    """The statements of every engine, in its grammar where sqlglot has one for them."""
    for name in available():
        engine = facts_of(load_engine(name))
        if engine.notes is not None:
            where = {"catalog": "db.", "schema": "'s'", "name": "'t'"}
            assert isinstance(parse_one(engine.notes.found.format(**where), dialect=name), exp.Select)
        if engine.transactions is not None:
            assert isinstance(parse_one(engine.transactions.held, dialect=name), exp.Select)
            assert isinstance(parse_one(f"SELECT {engine.present}", dialect=name), exp.Select)
            assert bool(engine.transactions.lock) == bool(engine.transactions.patience)
