"""Annotations of dbt-features and definitions of Feast, brought over: what is written, what is kept, what is listed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from featurelayer.cli import main
from featurelayer.dbt import load_project
from featurelayer.dbt.contract import ColumnBlock, ServiceBlock, ViewBlock
from featurelayer.errors import ConfigError, PlanError, UnknownNameError
from featurelayer.migrate import Migration
from featurelayer.migrate.document import Document
from featurelayer.migrate.project import plan_migration
from tests.unit import dbt_projects as made

GROWTH = """version: 2

# The models of growth.
models:
  - name: customer_features_daily  # built at night
    description: "Daily features of a 'customer'"
    meta:
      team: growth
      feature_catalog:
        is_feature_table: true
        entity: customer_id   # the key
        # what makes a row unique
        grain: [feature_date, customer_id]
        timestamp_column: feature_date
        time_grain: daily
        freshness:
          warn_after: { count: 36, period: hour }
          error_after: { count: 48, period: hour }
        owner: growth-team@example.com
        tags: [customer, daily]
    # the columns
    columns:
      - name: feature_date
        data_type: date
      - name: customer_id
        description: Customer identifier
        data_tests: [not_null]
      - name: orders_count_7d
        data_type: bigint
        meta:
          feature_catalog:
            null_behavior: zero   # as zero
            used_by: [churn_model_v2]
            description: Orders of the last seven days.

      # about repeats
      - name: is_repeat_customer
        meta:
          feature_store: {is_feature: false}
      - {name: old, data_type: double, meta: {feature_catalog: {lifecycle: deprecated, replacement: "customer_features_daily:orders_count_7d"}}}  # gone

  # Over a whole life.
  - name: customer_features_lifetime
    config:
      materialized: table   # a table
      contract: {enforced: false}
      tags: nightly
      meta:
        owner_team: growth
        feature_store:
          is_feature_table: true
          entity: [customer_id, region_code]
          event_timestamp_column: seen_at
          exclude: [debug]
          tags: [life]
          definition_version: 3
          lifecycle: preview
          typo: 1
    columns:
      - name: customer_id
        data_type: bigint
      - name: region_code
      - name: seen_at
        data_type: timestamp
      - name: n
      - name: debug
        config:
          meta: {keep: 1}

  - name: not_features
    columns: [{name: a}]

exposures:
  - name: churn
    type: ml
    owner: {name: Growth, email: growth@example.com}
    depends_on: [ref('customer_features_daily'), ref('customer_features_lifetime')]
    meta:
      feature_store:
        consumes: ["customer_features_daily", "customer_features_lifetime:n"]
"""  # noqa: E501

EXPECTED = """version: 2

# The models of growth.
models:
  - name: customer_features_daily  # built at night
    description: "Daily features of a 'customer'"
    # the key
    # what makes a row unique
    meta:
      team: growth
    config:
      event_time: feature_date
      tags: [customer, daily]
      meta:
        featurelayer:
          entity: customer
          delay: 1 day
          update_frequency: daily
          freshness: {warn_after: {count: 36, period: hour}, error_after: {count: 48, period: hour}}
    # the columns
    columns:
      - name: feature_date
        data_type: date
      - name: customer_id
        description: Customer identifier
        data_tests: [not_null]
        config: {meta: {featurelayer: {join_key: customer}}}
      - name: orders_count_7d
        description: Orders of the last seven days.
        data_type: bigint
        # as zero

      # about repeats
      - name: is_repeat_customer
        config: {meta: {featurelayer: {feature: false}}}
      - {name: old, data_type: double, config: {meta: {featurelayer: {deprecated: {replaced_by: customer_features_daily.orders_count_7d}}}}} # gone

  # Over a whole life.
  - name: customer_features_lifetime
    # a table
    config:
      materialized: table
      contract: {enforced: false}
      tags: [nightly, life]
      meta:
        owner_team: growth
        featurelayer:
          entity: [customer, region]
      event_time: seen_at
    columns:
      - name: customer_id
        data_type: bigint
        config: {meta: {featurelayer: {join_key: customer}}}
      - name: region_code
        config: {meta: {featurelayer: {join_key: region}}}
      - name: seen_at
        data_type: timestamp
      - name: n
      - name: debug
        config: {meta: {keep: 1, featurelayer: {feature: false}}}

  - name: not_features
    columns: [{name: a}]

exposures:
  - name: churn
    type: ml
    owner: {name: Growth, email: growth@example.com}
    depends_on: [ref('customer_features_daily'), ref('customer_features_lifetime')]
    config:
      meta:
        featurelayer:
          features: [customer_features_daily.*, customer_features_lifetime.n]
"""  # noqa: E501


def project(root: Path, **files: str) -> Path:
    (root / "models").mkdir(parents=True, exist_ok=True)
    (root / "dbt_project.yml").write_text("name: shop\nprofile: shop\n")
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_yml", ".yml").replace("_py", ".py").replace("_sql", ".sql")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def plan(root: Path, source: str = "dbt-features", **more: Any) -> Migration:
    return plan_migration(load_project(root), source, **more)


def after(migration: Migration, name: str) -> str:
    return next(edit.after for edit in migration.edits if edit.path.as_posix() == name)


def notes(migration: Migration) -> str:
    return "\n".join(map(str, migration.notes))


def check_blocks(text: str) -> None:
    """Everything that was written follows the contract."""
    document = yaml.safe_load(text)
    for model in document.get("models", []):
        ViewBlock.model_validate(model["config"]["meta"]["featurelayer"]) if "config" in model else None
        for column in model.get("columns", []):
            meta = (column.get("config") or {}).get("meta") or {}
            if "featurelayer" in meta:
                ColumnBlock.model_validate(meta["featurelayer"])
    for exposure in document.get("exposures", []):
        ServiceBlock.model_validate(exposure["config"]["meta"]["featurelayer"])


# --- dbt-features ------------------------------------------------------------


def test_annotations_are_rewritten_in_their_place_and_nothing_else_is(tmp_path):
    migration = plan(project(tmp_path, models__growth_yml=GROWTH))
    assert after(migration, "models/growth.yml") == EXPECTED
    check_blocks(EXPECTED)
    entities = yaml.safe_load(after(migration, "featurelayer.yml"))
    assert entities == {
        "online_store": {"dev": {"type": "sqlite", "path": ".featurelayer/online.db"}},
        "entities": {"customer": {"keys": {"customer_id": "bigint"}}, "region": {"keys": {"region_code": "varchar"}}},
    }


def test_what_does_not_map_is_listed(tmp_path):
    text = notes(plan(project(tmp_path, models__growth_yml=GROWTH)))
    for said in (
        "feature_date is a date",
        "owner: growth-team@example.com",
        "null_behavior: zero",
        "used_by: churn_model_v2",
        "definition_version: 3",
        "lifecycle: preview",
        "typo: 1; dbt-features ignores this key as well",
        "the type of region_code is not declared; it becomes varchar",
        "churn: the label timestamp column is unknown",
    ):
        assert said in text


def test_migrating_twice_finds_nothing(tmp_path):
    root = project(tmp_path, models__growth_yml=GROWTH)
    plan(root).write(root)
    assert (root / "models" / "growth.yml").read_text() == EXPECTED
    with pytest.raises(PlanError, match="no model of this project has annotations of dbt-features"):
        plan(root)


def test_models_that_can_not_be_views_are_left_and_listed(tmp_path):
    text = """seeds:
  - name: s
    meta: {feature_store: {is_feature_table: true, entity: a_id}}
models:
  - name: off
    meta: {feature_store: {entity: a_id}}
  - name: done
    meta: {feature_store: {is_feature_table: true, entity: a_id}}
    config: {meta: {featurelayer: {entity: a}}}
  - name: on
    meta: {feature_store: {is_feature_table: true, grain: [a_id, b_id]}}
"""
    migration = plan(project(tmp_path, models__m_yml=text))
    written = after(migration, "models/m.yml")
    assert written.startswith(text.partition("  - name: on")[0])
    assert yaml.safe_load(written)["models"][2]["config"]["meta"]["featurelayer"] == {
        "entity": ["a", "b"],
        "static": True,
    }
    said = notes(migration)
    for part in (
        "a seed can't be",
        "is_feature_table is not true",
        "already has annotations of featurelayer",
        "no entity",
    ):
        assert part in said


def test_entities_are_added_to_the_file_that_is_there(tmp_path):
    config = "# ours\nentities:\n  region: {keys: {code: varchar}}   # regions\nonline_store: {dev: {type: memory}}\n"
    migration = plan(project(tmp_path, models__growth_yml=GROWTH, featurelayer_yml=config))
    written = after(migration, "featurelayer.yml")
    assert yaml.safe_load(written) == {
        "entities": {"region": {"keys": {"code": "varchar"}}, "customer": {"keys": {"customer_id": "bigint"}}},
        "online_store": {"dev": {"type": "memory"}},
    }
    assert "# ours" in written
    assert "# regions" in written
    assert "entity region is declared with the keys code" in notes(migration)


def test_a_file_that_is_no_yaml_is_named_and_nothing_is_written(tmp_path):
    root = project(tmp_path, models__growth_yml=GROWTH, models__bad_yml="models: [feature_store: {\n")
    with pytest.raises(ConfigError, match=r"models/bad\.yml:\d"):
        plan(root)
    assert (root / "models" / "growth.yml").read_text() == GROWTH


@pytest.mark.parametrize("quote", ["'a # b'", '"a # b"', "a#b", "'it''s # no'"])
def test_what_only_looks_like_a_comment_is_none(tmp_path, quote):
    text = f"models:\n  - name: m\n    config:\n      alias: {quote}  # real\n"
    document = Document(text, "m.yml")
    model = document.items("models")[0]
    document.replace(model, "config", {"config": {"alias": model["config"]["alias"]}})
    assert document.text.count("real") == 1
    assert yaml.safe_load(document.text) == yaml.safe_load(text)


def test_dry_run_prints_a_diff_that_patch_takes(tmp_path, capsys):
    root = project(tmp_path, models__growth_yml=GROWTH)
    assert main(["migrate", "--from", "dbt-features", "--dry-run", "--project-dir", str(root)]) == 0
    out, err = capsys.readouterr()
    assert (root / "models" / "growth.yml").read_text() == GROWTH
    assert not (root / "featurelayer.yml").exists()
    assert "null_behavior: zero" in err
    done = subprocess.run(["git", "apply", "-"], input=out, text=True, cwd=root, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (root / "models" / "growth.yml").read_text() == EXPECTED
    assert (root / "featurelayer.yml").exists()


def test_the_command_writes_and_says_so(tmp_path, capsys):
    root = project(tmp_path, models__growth_yml=GROWTH)
    assert main(["migrate", "--from", "dbt-features", "--project-dir", str(root)]) == 0
    assert capsys.readouterr().out.splitlines() == ["Changed models/growth.yml", "Wrote featurelayer.yml"]
    assert main(["migrate", "--from", "dbt-features", "--repo", "x", "--project-dir", str(root)]) == 2
    assert main(["migrate", "--from", "tecton", "--project-dir", str(root)]) == 2


# --- Feast -------------------------------------------------------------------

ENTITIES = """
from feast import Entity, ValueType
PREFIX = "dri"
driver = Entity(name=PREFIX + "ver", join_keys=["driver_id"], description="A driver.")
trip = Entity(name="trip", join_keys=["trip_id", "leg"], value_type=ValueType.INT64)
"""
VIEWS = """
import os
from datetime import timedelta
from feast import FeatureView, FeatureService, Field, SnowflakeSource, FileSource, PushSource, RequestSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Array, Float32, Int64, String
from entities import driver, trip

raise SystemExit("this file must never run")

SCHEMA = "ANALYTICS"
stats_source = SnowflakeSource(
    name="stats", database=os.environ["DB"], schema=SCHEMA, table="DRIVER_STATS",
    timestamp_field="event_timestamp", created_timestamp_column="created",
)
driver_stats = FeatureView(
    name="driver_hourly_stats",
    entities=[driver],
    ttl=timedelta(days=1) ,
    schema=[
        Field(name="driver_id", dtype=Int64),
        Field(name="conv_rate", dtype=Float32, description="How many trips come about."),
        Field(name="daily_trips", dtype=Int64),
        Field(name="embedding", dtype=Array(Float32)),
    ],
    online=True,
    source=PushSource(name="push", batch_source=stats_source),
    tags={"team": "driver_performance"},
    owner="ops@example.com",
)
trips = FeatureView(
    name="trips", entities=[trip], ttl=timedelta(0), schema=[Field("distance", Int64)], online=False,
    source=FileSource(path="data/fct_trips.parquet", timestamp_field="at"),
)
elsewhere = FeatureView(name="elsewhere", entities=[driver], schema=[], source=SnowflakeSource(table="NOT_DBT"))
queried = FeatureView(name="queried", entities=[driver], schema=[],
                      source=SnowflakeSource(query="select 1", timestamp_field="t"))
computed = FeatureView(name="computed", entities=[driver], ttl=timedelta(hours=int(os.environ["H"])),
                       source=make_source())
request = RequestSource(name="vals", schema=[])

@on_demand_feature_view(sources=[driver_stats], schema=[])
def doubled(inputs):
    return inputs

activity = FeatureService(
    name="driver_activity",
    features=[driver_stats[["conv_rate", "daily_trips"]], trips,
              driver_stats.with_name("partner").with_join_key_map({"driver_id": "partner_id"}), doubled],
    owner="ops@example.com",
)
"""
STATS = """models:
  # hourly
  - name: driver_stats
    description: Of dbt.
    columns:
      - name: driver_id
        data_type: bigint
      - name: conv_rate  # a rate
"""


def feast(root: Path, **files: str) -> Path:
    project(root, feature_repo__entities_py=ENTITIES, feature_repo__views_py=VIEWS, models__stats_yml=STATS, **files)
    (root / "feature_repo" / "feature_store.yaml").write_text("project: rides\n")
    nodes = []
    for name, patch in (("driver_stats", "shop://models/stats.yml"), ("fct_trips", None)):
        (root / "models" / f"{name}.sql").write_text("select 1\n")
        nodes.append(made.model(name, node={"patch_path": patch, "relation_name": f'"db"."main"."{name}"'}))
    (root / "target").mkdir(exist_ok=True)
    (root / "target" / "manifest.json").write_text(json.dumps(made.manifest(*nodes)))
    return root


def test_views_become_annotations_of_the_models_that_they_read(tmp_path):
    migration = plan(feast(tmp_path), "feast")
    assert (
        after(migration, "models/stats.yml")
        == """models:
  # hourly
  - name: driver_stats
    description: Of dbt.
    config:
      event_time: event_timestamp
      meta:
        featurelayer:
          entity: driver
          created_timestamp: created
          ttl: 1 day
          online: true
    columns:
      - name: driver_id
        data_type: bigint
        config: {meta: {featurelayer: {join_key: driver}}}
      - name: conv_rate  # a rate
        data_type: real
        description: How many trips come about.
      - name: daily_trips
        data_type: bigint
      - name: embedding
        data_type: real[]
      - name: event_timestamp
        data_type: timestamp
      - name: created
        data_type: timestamp
"""
    )
    trips = yaml.safe_load(after(migration, "models/fct_trips.yml"))["models"][0]
    assert trips["config"] == {"event_time": "at", "meta": {"featurelayer": {"entity": "trip", "online": False}}}
    assert [column["name"] for column in trips["columns"]] == ["trip_id", "leg", "distance", "at"]
    assert trips["columns"][1]["config"] == {"meta": {"featurelayer": {"join_key": "trip.leg"}}}
    assert yaml.safe_load(after(migration, "featurelayer.yml"))["entities"] == {
        "driver": {"keys": {"driver_id": "bigint"}},
        "trip": {"keys": {"trip_id": "bigint", "leg": "bigint"}},
    }
    for name in ("models/stats.yml", "models/fct_trips.yml", "models/feast_services.yml"):
        check_blocks(after(migration, name))


def test_services_become_exposures(tmp_path):
    (exposure,) = yaml.safe_load(after(plan(feast(tmp_path), "feast"), "models/feast_services.yml"))["exposures"]
    assert exposure["owner"] == {"email": "ops@example.com"}
    assert exposure["depends_on"] == ["ref('driver_stats')", "ref('fct_trips')"]
    assert exposure["config"]["meta"]["featurelayer"]["features"] == [
        "driver_stats.conv_rate",
        "driver_stats.daily_trips",
        "fct_trips.*",
        {"view": "driver_stats", "role": "partner", "keys": {"driver_id": "partner_id"}, "features": ["*"]},
    ]


def test_what_of_feast_does_not_map_is_listed(tmp_path):
    text = notes(plan(feast(tmp_path), "feast"))
    for said in (
        "elsewhere reads NOT_DBT, which is not a model of the project",
        "queried reads a query",
        "the source of computed is unknown",
        "ttl = timedelta(hours=int(os.environ['H'])) can't be read from the files",
        "views.py:49: doubled can't be read from the files",
        "on_demand_feature_view doubled; compute it in a dbt model",
        "RequestSource vals",
        "tags: team: driver_performance",
        "driver_activity does not name the label timestamp column",
    ):
        assert said in text, said


def test_a_project_that_was_migrated_is_understood(tmp_path):
    """What was written, through dbt's own parser, gives the views and services that Feast had."""
    dbt = pytest.importorskip("dbt.cli.main")
    root = feast(tmp_path)
    (root / "models" / "driver_stats.sql").write_text(
        "select 1::bigint as driver_id, 0.5::real as conv_rate, 2::bigint as daily_trips, [1.0::real] as embedding, "
        "now()::timestamp as event_timestamp, now()::timestamp as created\n"
    )
    (root / "models" / "fct_trips.sql").write_text("select 1 as trip_id, 2 as leg, 3 as distance, now() as at\n")
    (root / "profiles.yml").write_text("shop: {target: dev, outputs: {dev: {type: duckdb, path: db.duckdb}}}\n")
    assert main(["migrate", "--from", "feast", "--project-dir", str(root)]) == 0
    done = dbt.dbtRunner().invoke(
        ["--quiet", "--no-send-anonymous-usage-stats", "parse", "--project-dir", str(root), "--profiles-dir", str(root)]
    )
    assert done.success, done.exception
    from featurelayer.layer import FeatureLayer

    registry = FeatureLayer(root, profiles_dir=root).registry
    assert set(registry.views) == {"driver_stats", "fct_trips"}
    assert registry.service("driver_activity").columns == (
        "driver_stats__conv_rate", "driver_stats__daily_trips", "fct_trips__distance",
        "partner__conv_rate", "partner__daily_trips", "partner__embedding",
    )  # fmt: skip


def test_nothing_of_feast_is_said(tmp_path):
    root = feast(tmp_path / "a")
    (root / "feature_repo" / "views.py").write_text("x = 1\n")
    with pytest.raises(PlanError, match="its Python files define no FeatureView"):
        plan(root, "feast")
    (root / "feature_repo" / "feature_store.yaml").unlink()
    with pytest.raises(PlanError, match=r"the project has no feature_store\.yaml"):
        plan(root, "feast")
    with pytest.raises(PlanError, match="does not exist"):
        plan(root, "feast", repo=root / "nowhere")
    with pytest.raises(UnknownNameError, match="fest"):
        plan(root, "fest")


def test_hostile_python_is_read_and_not_run(tmp_path):
    root = feast(tmp_path)
    deep = "x = " + "[" * 200 + "]" * 200 + "\n"
    (root / "feature_repo" / "deep.py").write_text(deep)
    (root / "feature_repo" / "broken.py").write_text("def (\n")
    (root / "feature_repo" / "circle.py").write_text("a = b\nb = a\nv = FeatureView(name=a, source=b)\n")
    migration = plan(root, "feast")
    assert "feature_repo/broken.py: it can't be parsed" in notes(migration)
    assert after(migration, "models/stats.yml")
