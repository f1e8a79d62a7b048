"""Which target a manifest was built for, told by where its models lie, for adapters that do not run here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from featurelayer.dbt import load_project
from featurelayer.dbt.target import validate_target
from featurelayer.errors import TargetMismatch
from tests.unit import dbt_projects as made

SNOWFLAKE = {
    "dev": {"type": "snowflake", "database": "DEV", "schema": "me"},
    "prod": {"type": "snowflake", "database": "PROD", "schema": "me"},
}
BIGQUERY = {
    "dev": {"type": "bigquery", "project": "p", "dataset": "dev_me"},
    "prod": {"type": "bigquery", "project": "p", "dataset": "prod"},
}
DATABRICKS = {
    "dev": {"type": "databricks", "catalog": "dev", "schema": "features"},
    "prod": {"type": "databricks", "catalog": "prod", "schema": "features"},
}
SPARK = {"dev": {"type": "spark", "schema": "dev_me"}, "prod": {"type": "spark", "schema": "prod"}}
POSTGRES = {
    "dev": {"type": "postgres", "dbname": "shop", "schema": "dev_me", "host": "a"},
    "prod": {"type": "postgres", "dbname": "shop", "schema": "prod", "host": "{{ env_var('NOWHERE_SET') }}"},
    "capital": {"type": "postgres", "dbname": "shop", "schema": "DEV_ME", "host": "a"},
}
DUCKDB = {
    "dev": {"type": "duckdb"},
    "prod": {"type": "duckdb", "path": "md:prod?token=x"},
}
DOTS = {"dev": {"type": "duckdb", "path": "/data/memory.v2.duckdb"}}


def said(
    root: Path, outputs: dict[str, Any], target: str, *nodes: dict[str, Any], assume: bool = False, **more: Any
) -> list[str]:
    """The warnings about a manifest of these nodes, used for a target."""
    placed = [made.model(name=f"m{number}", node=node) for number, node in enumerate(nodes)]
    made.project(root, made.manifest(*placed, adapter=outputs["dev"]["type"], **more))
    profile = {"shop": {"target": "dev", "outputs": outputs}}
    (root / "profiles.yml").write_text(json.dumps(profile))
    warnings: list[str] = []
    project = load_project(root, profiles_dir=root, target=target, assume_target=assume)
    validate_target(project, warn=warnings.append)
    return warnings


def at(schema: str, database: str | None = None, /, **config: Any) -> dict[str, Any]:
    config = {"event_time": "landed_at", "meta": {"featurelayer": {"entity": "plane"}}, **config}
    return {"schema": schema, "database": database, "config": config}


@pytest.mark.parametrize(
    ("outputs", "node", "differs"),
    [
        (SNOWFLAKE, at("me", "DEV"), "(database DEV), not for prod (database PROD)"),
        (BIGQUERY, at("dev_me", "p"), "(schema dev_me), not for prod (schema prod)"),
        (BIGQUERY, at("dev_me_marts", "p", schema="marts"), "(schema dev_me), not for prod (schema prod)"),
        (DATABRICKS, at("features", "dev"), "(database dev), not for prod (database prod)"),
        (SPARK, at("dev_me"), "(schema dev_me), not for prod (schema prod)"),
        (POSTGRES, at("dev_me", "shop"), "(schema dev_me), not for prod (schema prod)"),
        (DUCKDB, at("main", "memory"), "(database memory), not for prod (database prod)"),
    ],
)
def test_schema_and_database_are_what_the_adapter_calls_so(
    tmp_path: Path, outputs: dict[str, Any], node: dict[str, Any], differs: str
) -> None:
    assert said(tmp_path, outputs, "dev", node) == []
    with pytest.raises(TargetMismatch) as caught:
        said(tmp_path, outputs, "prod", node)
    assert f"manifest.json was built for target dev {differs}\n" in str(caught.value)
    assert str(caught.value).endswith("fix  run dbt parse -t prod")
    with pytest.raises(TargetMismatch):  # where the schemas tell, nobody's word is needed
        said(tmp_path, outputs, "prod", node, assume=True)


def test_names_differ_in_case_alone_only_where_the_engine_reads_them_so(tmp_path: Path) -> None:
    assert said(tmp_path, SNOWFLAKE, "dev", at("ME", "dev")) == []
    with pytest.raises(TargetMismatch):
        said(tmp_path, POSTGRES, "capital", at("dev_me", "shop"))


def test_a_file_whose_name_has_several_dots_is_called_differently_by_versions_of_dbt(tmp_path: Path) -> None:
    assert said(tmp_path, DOTS, "dev", at("main", "memory.v2")) == []
    assert said(tmp_path, DOTS, "dev", at("main", "memory")) == []


def test_a_model_with_a_database_of_its_own_tells_by_its_schema(tmp_path: Path) -> None:
    assert said(tmp_path, SNOWFLAKE, "prod", at("me", "SHARED", database="SHARED")) == []
    with pytest.raises(TargetMismatch):
        said(tmp_path, SNOWFLAKE, "prod", at("you", "SHARED", database="SHARED"))


def test_a_relations_name_tells_where_a_manifest_has_no_more(tmp_path: Path) -> None:
    assert said(tmp_path, SNOWFLAKE, "dev", {"relation_name": "dev.me.m0"}) == []
    with pytest.raises(TargetMismatch, match="not for prod"):
        said(tmp_path, SNOWFLAKE, "prod", {"relation_name": '"DEV"."me"."m0"'})


def test_a_snapshot_with_a_schema_of_its_own_tells_nothing_and_other_models_do(tmp_path: Path) -> None:
    alone = at("snapshots", "shop", target_schema="snapshots")
    (warning,) = said(tmp_path, POSTGRES, "prod", alone)
    assert "can't tell whether manifest.json was built for target prod" in warning
    assert "run dbt compile -t prod" in warning
    assert said(tmp_path, POSTGRES, "prod", alone, assume=True) == []
    plain = {**at("dev_me", "shop"), "config": {}}
    assert said(tmp_path, POSTGRES, "dev", alone, plain) == []
    with pytest.raises(TargetMismatch):
        said(tmp_path, POSTGRES, "prod", alone, plain)


@pytest.mark.parametrize(
    "macro",
    [
        "macro.shop.generate_schema_name",
        "macro.pkg.default__generate_schema_name",
        "macro.shop.postgres__generate_database_name",
    ],
)
def test_a_macro_of_the_projects_own_makes_schemas_no_proof(tmp_path: Path, macro: str) -> None:
    own: dict[str, Any] = {"macros": {macro: {}}}
    assert said(tmp_path, POSTGRES, "dev", at("dev_me", "shop"), **own) == []
    with pytest.raises(TargetMismatch, match="or pass assume_target=True if it was built for prod"):
        said(tmp_path, POSTGRES, "prod", at("dev_me", "shop"), **own)
    assert said(tmp_path, POSTGRES, "prod", at("dev_me", "shop"), assume=True, **own) == []
    (warning,) = said(tmp_path, POSTGRES, "prod", at("marts", "shop"), **own)
    assert "generate_schema_name" in warning


@pytest.mark.parametrize(
    "macro",
    [
        "macro.dbt.generate_schema_name",
        "macro.dbt_spark.spark__generate_database_name",
        "macro.pkg.generate_schema_name",
        "macro.pkg.snowflake__generate_schema_name",
        "macro.shop.generate_alias_name",
    ],
)
def test_a_macro_that_places_no_model_of_the_project_changes_nothing(tmp_path: Path, macro: str) -> None:
    with pytest.raises(TargetMismatch) as caught:
        said(tmp_path, POSTGRES, "prod", at("dev_me", "shop"), macros={macro: {}})
    assert "assume_target" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"metadata": {}}', '{"metadata": {"invocation_id": "other"}, "args": {"target": "x"}}']
)
def test_results_of_another_run_or_none_record_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "run_results.json").write_text(text)
    assert said(tmp_path, POSTGRES, "dev", at("dev_me", "shop")) == []
    (tmp_path / "target" / "run_results.json").write_text(
        json.dumps({"metadata": {"invocation_id": "i"}, "args": {"target": "x", "vars": None}})
    )
    with pytest.raises(TargetMismatch, match="built for target x, not for dev"):
        said(tmp_path, POSTGRES, "dev", at("dev_me", "shop"))


def test_the_command_that_helps_writes_the_manifest_that_is_read(tmp_path: Path) -> None:
    said(tmp_path, SPARK, "dev", at("dev_me"))
    (tmp_path / "target").rename(tmp_path / "my target")
    project = load_project(tmp_path, profiles_dir=tmp_path, target="prod", target_path="my target")
    with pytest.raises(TargetMismatch) as caught:
        validate_target(project)
    assert str(caught.value).endswith("fix  run dbt parse -t prod --target-path 'my target'")
