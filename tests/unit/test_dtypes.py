"""Type texts of the warehouses as types."""

import subprocess
import sys

import duckdb
import pytest

from featurelayer.dbt.dtypes import dtype_of

SAME_EVERYWHERE = {
    "bigint": "int64",
    "varchar": "text",
    "VARCHAR(20)": "text",
    "character varying(256)": "text",
    "boolean": "bool",
    "date": "date",
    "double precision": "float64",
    "decimal(18,4)": "decimal(18,4)",
    "Decimal( 18 , 4 )": "decimal(18,4)",
    "numeric(5)": "decimal(5,0)",
    "timestamp with time zone": "timestamptz",
    "timestamp(3) without time zone": "timestamp",
    "uuid": "uuid",
    "json": "json",
    "": "unknown",
    "bananas": "unknown",
    "'; DROP TABLE x; --": "unknown",
    "(": "unknown",
}


@pytest.mark.parametrize(
    "adapter", ["duckdb", "postgres", "snowflake", "bigquery", "spark", "redshift", "trino", "unheard_of"]
)
@pytest.mark.parametrize(("text", "expected"), SAME_EVERYWHERE.items())
def test_what_every_engine_writes_alike(text, expected, adapter):
    assert str(dtype_of(text, adapter)) == expected


@pytest.mark.parametrize(
    ("adapter", "text", "expected"),
    [
        ("duckdb", "int8", "int64"),
        ("duckdb", "float", "float32"),
        ("duckdb", "decimal", "decimal(18,3)"),
        ("duckdb", "uhugeint", "uint128"),
        ("duckdb", "timestamp_ns", "timestamp"),
        ("duckdb", "FLOAT[3]", "array<float32>"),
        ("duckdb", "VARCHAR[][]", "array<array<text>>"),
        ("duckdb", 'STRUCT(a INTEGER, "b c" VARCHAR[])', 'struct<a:int32,"b c":array<text>>'),
        ("duckdb", "MAP(VARCHAR, DOUBLE)", "map<key:text,value:float64>"),
        ("duckdb", "ENUM('a', 'b(c)')", "text"),
        ("duckdb", "geometry", "unknown"),
        ("postgres", "int4", "int32"),
        ("postgres", "float", "float64"),
        ("postgres", "float(24)", "float32"),
        ("postgres", "numeric", "unknown"),
        ("postgres", "text[]", "array<text>"),
        ("postgres", "timestamptz(3)", "timestamptz"),
        ("postgres", "vector(3)", "array<float32>"),
        ("snowflake", "NUMBER", "decimal(38,0)"),
        ("snowflake", "NUMBER(38,0)", "decimal(38,0)"),
        ("snowflake", "int", "int64"),
        ("snowflake", "float", "float64"),
        ("snowflake", "VARIANT", "json"),
        ("snowflake", "ARRAY", "json"),
        ("snowflake", "VECTOR(FLOAT, 256)", "array<float32>"),
        ("snowflake", "TIMESTAMP_LTZ(9)", "timestamptz"),
        ("snowflake", "TIMESTAMP_NTZ(9)", "timestamp"),
        ("bigquery", "INT64", "int64"),
        ("bigquery", "int", "int64"),
        ("bigquery", "TIMESTAMP", "timestamptz"),
        ("bigquery", "DATETIME", "timestamp"),
        ("bigquery", "NUMERIC", "decimal(38,9)"),
        ("bigquery", "BIGNUMERIC", "decimal(76,38)"),
        ("bigquery", "ARRAY<FLOAT64>", "array<float64>"),
        ("bigquery", "STRUCT<a INT64, b ARRAY<STRING>>", "struct<a:int64,b:array<text>>"),
        ("spark", "timestamp", "timestamptz"),
        ("spark", "timestamp_ntz", "timestamp"),
        ("spark", "struct<a:int,b:string>", "struct<a:int32,b:text>"),
        ("trino", "array(double)", "array<float64>"),
        ("trino", "row(a bigint, b varchar)", "struct<a:int64,b:text>"),
        ("clickhouse", "Nullable(Int8)", "int8"),
        ("clickhouse", "Int64", "int64"),
        ("clickhouse", "DateTime64(6, 'UTC')", "timestamptz"),
        ("clickhouse", "Array(Nullable(Float32))", "array<float32>"),
        ("clickhouse", "LowCardinality(String)", "text"),
        ("redshift", "super", "json"),
        ("unheard_of", "array<int>", "array<int32>"),
    ],
)
def test_what_one_engine_means(adapter, text, expected):
    assert str(dtype_of(text, adapter)) == expected


def test_every_type_that_duckdb_reports_is_known():
    connection = duckdb.connect()
    names = connection.execute(
        "select distinct logical_type from duckdb_types() where type_category is not null"
    ).fetchall()
    known = {name: str(dtype_of(name, "duckdb")) for (name,) in names}
    assert {name for name, dtype in known.items() if dtype == "unknown"} <= {
        "BIT",
        "BIGNUM",
        "TIME_NS",
        "UNION",
        "GEOMETRY",
        "MAP",
        "STRUCT",  # the last two without what is in them
    }
    assert known["HUGEINT"] == "int128"


def test_scalars_are_read_without_sqlglot():
    code = (
        "import sys; from featurelayer.dbt.dtypes import dtype_of; "
        "[dtype_of(text, 'duckdb') for text in ('bigint', 'DECIMAL(18,4)', 'timestamp with time zone', 'varchar(3)')]; "
        "print('sqlglot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
