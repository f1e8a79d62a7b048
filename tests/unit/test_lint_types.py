"""FL311: the declared types against the catalog's, by each adapter's names for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from featurelayer.dbt import load_project
from featurelayer.lint import lint
from tests.unit.dbt_projects import column, manifest, model, project


def found(root: Path, declared: str, catalog: Any, adapter: str = "duckdb", name: str = "x") -> list[tuple[str, ...]]:
    """The severities and messages of FL311 for a column."""
    said = {"join_key": "plane"} if name == "tailnum" else {}
    node = model(columns={name: column(declared, **said)})
    made = project(root, manifest(node, adapter=adapter))
    del made
    if catalog is not None:
        columns = {name.upper(): {"name": name.upper(), "type": catalog, "index": 1}}
        document = {"metadata": {}, "nodes": {node["unique_id"]: {"columns": columns}}}
        (root / "target" / "catalog.json").write_text(json.dumps(document))
    findings = lint(load_project(root), (), ("FL311",)).findings
    return [(str(each.severity), each.message, each.key) for each in findings]


SAME = [
    ("duckdb", "varchar", "VARCHAR"), ("duckdb", "text", "VARCHAR"), ("duckdb", "varchar(255)", "VARCHAR"),
    ("duckdb", "int8", "BIGINT"), ("duckdb", "decimal", "DECIMAL(18,3)"), ("duckdb", "numeric(18,3)", "DECIMAL(18,3)"),
    ("duckdb", "timestamptz", "TIMESTAMP WITH TIME ZONE"), ("duckdb", "timestamp_s", "TIMESTAMP_S"),
    ("duckdb", "float[]", "FLOAT[3]"), ("duckdb", "hugeint", "HUGEINT"), ("duckdb", "varchar", "ENUM('a', 'b')"),
    ("duckdb", "bigint", "INTEGER"), ("duckdb", "double", "FLOAT"), ("duckdb", "double", "DECIMAL(9,2)"),
    ("duckdb", "timestamp", "TIMESTAMP WITH TIME ZONE"), ("duckdb", "struct(a int)", "STRUCT(a INTEGER)"),
    ("postgres", "text", "character varying(255)"), ("postgres", "int8", "bigint"),
    ("postgres", "float", "double precision"),
    ("postgres", "timestamptz", "timestamp with time zone"), ("postgres", "timestamp", "timestamp without time zone"),
    ("postgres", "numeric(10,2)", "numeric"), ("postgres", "jsonb", "json"), ("postgres", "integer[]", "integer[]"),
    ("snowflake", "integer", "NUMBER"), ("snowflake", "number(10,2)", "NUMBER"), ("snowflake", "string", "TEXT"),
    ("snowflake", "float", "FLOAT"), ("snowflake", "timestamp_ntz", "TIMESTAMP_NTZ"), ("snowflake", "array", "ARRAY"),
    ("snowflake", "uuid", "TEXT"), ("bigquery", "int64", "INT64"), ("bigquery", "timestamp", "TIMESTAMP"),
    ("bigquery", "float64", "FLOAT64"), ("bigquery", "string(10)", "STRING"),
    ("redshift", "varchar(10)", "character varying(256)"),
    ("redshift", "float", "double precision"), ("spark", "timestamp", "timestamp"), ("spark", "string", "string"),
    ("spark", "array<float>", "array<float>"), ("databricks", "timestamp_ntz", "timestamp_ntz"),
    ("trino", "varchar", "varchar(10)"), ("clickhouse", "Int64", "Nullable(Int64)"), ("unheard_of", "int", "integer"),
    ("duckdb", "varchar", "GEOMETRY"), ("duckdb", "varchar", ""),
]  # fmt: skip

OTHER = [
    ("duckdb", "float", "DOUBLE", "warning"), ("duckdb", "boolean", "VARCHAR", "warning"),
    ("duckdb", "bigint", "HUGEINT", "warning"), ("duckdb", "decimal(10,2)", "DECIMAL(18,4)", "warning"),
    ("duckdb", "date", "TIMESTAMP", "warning"), ("duckdb", "blob", "VARCHAR", "error"),
    ("duckdb", "varchar", "DOUBLE", "error"), ("duckdb", "varchar", "VARCHAR[]", "error"),
    ("duckdb", "float[]", "DOUBLE[]", "warning"), ("postgres", "real", "double precision", "warning"),
    ("postgres", "boolean", "timestamp without time zone", "error"), ("snowflake", "boolean", "TEXT", "warning"),
    ("snowflake", "varchar", "FLOAT", "error"), ("bigquery", "bytes", "STRING", "error"),
    ("spark", "int", "bigint", "warning"),
]  # fmt: skip


@pytest.mark.parametrize(("adapter", "declared", "catalog"), SAME)
def test_names_of_one_type_are_no_finding(tmp_path: Path, adapter: str, declared: str, catalog: str) -> None:
    assert found(tmp_path, declared, catalog, adapter) == []


@pytest.mark.parametrize(("adapter", "declared", "catalog", "severity"), OTHER)
def test_another_type_is_found(tmp_path: Path, adapter: str, declared: str, catalog: str, severity: str) -> None:
    ((weight, message, key),) = found(tmp_path, declared, catalog, adapter)
    assert weight == severity
    assert message.startswith(f"legs: column 'x' is {catalog.lower()} in catalog.json, declared ")
    assert key == "columns[x].data_type"


def test_keys_and_times_are_compared_as_they_are_joined(tmp_path: Path) -> None:
    assert found(tmp_path / "a", "varchar", "VARCHAR", name="tailnum") == []
    ((weight, message, _),) = found(tmp_path / "b", "varchar", "BIGINT", name="tailnum")
    assert (weight, message) == ("error", "legs: column 'tailnum' is bigint in catalog.json, declared text")
    assert found(tmp_path / "c", "timestamp", "DATE", name="landed_at") == []
    ((weight, message, _),) = found(tmp_path / "d", "timestamp", "VARCHAR", name="landed_at")
    assert weight == "warning"


@pytest.mark.parametrize("text", ["", "[]", '{"nodes": 1}', None])
def test_without_a_catalog_that_can_be_read_nothing_is_said(tmp_path: Path, text: str | None) -> None:
    assert found(tmp_path, "float", None) == []
    if text is not None:
        (tmp_path / "target" / "catalog.json").write_text(text)
    assert lint(load_project(tmp_path), (), ("FL311",)).findings == ()
