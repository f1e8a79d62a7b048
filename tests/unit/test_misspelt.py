"""What is misspelt and would be ignored: blocks, dbt's own keys, types of online stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from featurelayer.cli import main
from featurelayer.dbt import load_project, load_registry
from featurelayer.errors import ConfigError, MetadataError
from featurelayer.layer import FeatureLayer
from featurelayer.lint import lint
from tests.unit import dbt_projects as made

BLOCK = {"entity": "plane"}


def legs(key: str, **config: Any) -> dict[str, Any]:
    """The view with its block under this key, and no word of featurelayer elsewhere."""
    node = made.model(columns={"tailnum": made.column("varchar")})
    node["config"] = {"event_time": "landed_at", "materialized": "table", "meta": {key: BLOCK}, **config}
    return node


@pytest.mark.parametrize(
    "key",
    ["featurlayer", "feature_layer", "FeatureLayer", "fetaurelayer", "featurelayers", "feature-layer", "featurelyer"],
)
def test_a_misspelt_block_of_a_model_or_exposure_is_an_error(tmp_path: Path, key: str) -> None:
    found = made.problem(tmp_path, legs(key))
    assert found.what == f"legs: unknown block '{key}' (did you mean 'featurelayer'?)"
    assert found.where == f"models/features.yml -> legs -> config.meta.{key}"
    assert found.code == "FL102"
    service = made.exposure("legs.arr_delay")
    service["config"] = {"meta": {key: {"features": ["legs.arr_delay"]}}}
    found = made.problem(tmp_path, made.model(), exposures=(service,))
    assert f"unknown block '{key}'" in found.what


def test_a_misspelt_block_of_a_column_is_an_error(tmp_path: Path) -> None:
    node = made.model()
    node["columns"]["arr_delay"]["config"] = {"meta": {"featurlayer": {"default": 0}}}
    found = made.problem(tmp_path, node)
    assert found.where == "models/features.yml -> legs -> columns[arr_delay].config.meta.featurlayer"


@pytest.mark.parametrize(
    "key", ["feature_store", "feature_catalog", "feature_owner", "team", "layer", "featurelayerish"]
)
def test_another_tools_block_is_left_alone(tmp_path: Path, key: str) -> None:
    assert dict(made.registry(tmp_path, legs(key)).views) == {}


def test_a_block_that_is_only_spoken_of_is_none(tmp_path: Path) -> None:
    node = {**legs("team"), "description": 'Write "featurlayer": {} here.'}
    assert dict(made.registry(tmp_path, node).views) == {}


@pytest.mark.parametrize("key", ["evnt_time", "event_tme", "eventtime", "Event_Time"])
def test_a_misspelt_key_of_dbts_own_is_named(tmp_path: Path, key: str) -> None:
    node = made.model()
    node["config"][key] = node["config"].pop("event_time")
    found = made.problem(tmp_path, node)
    assert f"unknown key 'config.{key}' (did you mean 'event_time'?)" in found.what
    assert found.fix == "rename it to `event_time`"


def test_a_key_of_dbts_own_in_the_block_is_sent_there_also_misspelt(tmp_path: Path) -> None:
    found = made.problem(tmp_path, made.model(evnt_time="landed_at"))
    assert found.what == "legs: unknown key 'evnt_time' (did you mean 'event_time'?)"
    assert found.fix == "It is dbt's own: config.event_time."


def test_a_key_of_dbts_own_is_no_suggestion_for_itself(tmp_path: Path) -> None:
    found = made.problem(tmp_path, made.model(owner="Ann"))
    assert found.what == "legs: unknown key 'owner'"
    assert found.fix.startswith("It is dbt's own: config.group")


STORES = [
    ({"type": "dynamdb", "table": "t"}, "there is no online store of type 'dynamdb' (did you mean 'dynamodb'?)"),
    ({"type": "dynamdb"}, "there is no online store of type 'dynamdb' (did you mean 'dynamodb'?)"),
    ({"type": "sqllite"}, "there is no online store of type 'sqllite' (did you mean 'sqlite'?)"),
    ({"table": "t"}, "the online store has no type"),
    ({"type": "dynamodb"}, "the online store of type dynamodb has no table"),
    ({"type": "dynamodb", "tabel": "t"}, "the online store of type dynamodb has no table"),
]


def with_store(root: Path, entry: dict[str, Any]) -> str:
    stores = {"dev": {"type": "sqlite"}, "prod": entry}
    config = yaml.safe_dump({"entities": made.ENTITIES, "online_store": stores})
    made.project(root, made.manifest(made.model()), config=config)
    (root / "profiles.yml").write_text("shop: {target: dev, outputs: {dev: {type: duckdb}, prod: {type: duckdb}}}\n")
    return str(root)


@pytest.mark.parametrize(("entry", "what"), STORES)
def test_list_and_lint_look_at_the_store_of_every_target(
    tmp_path: Path, entry: dict[str, Any], what: str, capsys
) -> None:
    folder = with_store(tmp_path, entry)
    assert main(["list", "--project-dir", folder]) == 1
    printed = capsys.readouterr().err
    assert what in printed
    assert "featurelayer.yml -> online_store.prod" in printed
    (found,) = [each for each in lint(load_project(tmp_path)).findings if "online store" in each.message]
    assert (found.code, found.file) == ("FL105", "featurelayer.yml")
    assert what in found.message
    layer = FeatureLayer(tmp_path, profiles_dir=tmp_path, target="prod")
    with pytest.raises(ConfigError) as caught:
        _ = layer.online.url
    assert what.partition(" (")[0] in str(caught.value)


def test_a_misspelt_table_is_named(tmp_path: Path, capsys) -> None:
    assert main(["list", "--project-dir", with_store(tmp_path, {"type": "dynamodb", "tabel": "t"})]) == 1
    assert "call `tabel` `table`" in capsys.readouterr().err


@pytest.mark.parametrize(
    "entry",
    [
        {"type": "dynamodb", "table": "{{ env_var('NOWHERE_SET') }}"},
        {"type": "{{ env_var('NOWHERE_SET') }}"},
        {"type": "memory", "name": "m"},
        {"type": "sqlite"},
    ],
)
def test_a_store_that_is_in_order_or_rendered_elsewhere_is_left_alone(
    tmp_path: Path, entry: dict[str, Any], capsys
) -> None:
    assert main(["list", "--project-dir", with_store(tmp_path, entry)]) == 0


def test_a_store_that_is_no_mapping_is_one_problem(tmp_path: Path) -> None:
    made.project(tmp_path, made.manifest(made.model()), config="online_store: {prod: sqlite}\n")
    with pytest.raises(MetadataError, match=r"online_store.prod"):
        load_registry(load_project(tmp_path))
