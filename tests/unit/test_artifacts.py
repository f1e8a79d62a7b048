"""manifest.json and catalog.json: found, gated, doubted."""

import json
import os
from pathlib import Path

import pytest

from featurelayer.dbt import load_project, load_registry
from featurelayer.dbt.artifacts import read_manifest, read_models, sql_checksums
from featurelayer.errors import ManifestNotFound, ManifestUnreadable, UnsupportedManifest
from tests.unit.dbt_projects import column, manifest, model, project


def with_schema(version, **metadata):
    document = manifest(model())
    document["metadata"] |= {
        "dbt_schema_version": f"https://schemas.getdbt.com/dbt/manifest/v{version}.json",
        **metadata,
    }
    return document


def test_no_manifest_says_to_run_dbt_parse(tmp_path):
    with pytest.raises(ManifestNotFound) as error:
        read_manifest(tmp_path / "target")
    assert "there is no manifest.json" in str(error.value)
    assert str(tmp_path / "target" / "manifest.json") in str(error.value)
    assert "dbt parse" in str(error.value)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (json.dumps(manifest(model()))[:-200], "is truncated or not JSON"),
        ("", "is truncated or not JSON"),
        ("not json", "is truncated or not JSON"),
        ("[]", "has an unexpected shape"),
        ("{}", "has an unexpected shape"),
        ('{"metadata": {}, "nodes": 3}', "has an unexpected shape"),
        ('{"metadata": {}}', "has no schema version"),
    ],
)
def test_a_manifest_that_can_not_be_read_says_why(tmp_path, text, what):
    with pytest.raises(ManifestUnreadable) as error:
        load_registry(project(tmp_path, text))
    assert what in str(error.value)
    assert "manifest.json" in str(error.value)
    assert "dbt parse" in str(error.value)


def test_every_way_to_cut_a_manifest_short_is_an_error_of_ours(tmp_path):
    text = json.dumps(manifest(model()))
    for length in range(0, len(text), 37):
        with pytest.raises(ManifestUnreadable):
            load_registry(project(tmp_path, text[:length]))


def test_a_node_of_an_unexpected_shape_is_named(tmp_path):
    node = model()
    node["columns"] = ["featurelayer"]
    with pytest.raises(ManifestUnreadable, match=r"manifest.json -> model.shop.legs"):
        load_registry(project(tmp_path, manifest(node)))


def test_a_manifest_that_is_not_text_is_an_error_of_ours(tmp_path):
    found = project(tmp_path, "{}")
    (tmp_path / "target" / "manifest.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(ManifestUnreadable):
        load_registry(found)


def test_a_manifest_that_is_a_folder_is_an_error_of_ours(tmp_path):
    (tmp_path / "target" / "manifest.json").mkdir(parents=True)
    with pytest.raises(ManifestUnreadable, match="can't be read"):
        read_manifest(tmp_path / "target")


def test_an_old_schema_says_what_to_upgrade(tmp_path):
    with pytest.raises(UnsupportedManifest) as error:
        load_registry(project(tmp_path, with_schema(11, dbt_version="1.7.4")))
    assert "schema v11, written by dbt 1.7.4" in str(error.value)
    assert "upgrade dbt to 1.10 or later and run `dbt parse`" in str(error.value)


def test_a_newer_schema_is_read_with_a_warning(tmp_path):
    warnings = []
    found = load_registry(project(tmp_path, with_schema(13, dbt_version="3.0.0")), warn=warnings.append)
    assert list(found.views) == ["legs"]
    assert len(warnings) == 1
    assert "schema v13 (dbt 3.0.0), newer than" in warnings[0]


def test_absent_keys_are_no_problem(tmp_path):
    document = manifest(model())
    for key in ("original_file_path", "depends_on", "patch_path"):
        del document["nodes"]["model.shop.legs"][key]
    del document["exposures"]
    document["disabled"] = None
    document["metadata"] = {"dbt_schema_version": document["metadata"]["dbt_schema_version"], "adapter_type": "duckdb"}
    assert list(load_registry(project(tmp_path, document)).views) == ["legs"]


def test_only_annotated_nodes_are_decoded(tmp_path):
    broken = {"unique_id": "model.shop.other", "columns": "not what it should be"}
    assert list(load_registry(project(tmp_path, manifest(model(), broken))).views) == ["legs"]


def age(path, seconds):
    os.utime(path, (seconds, seconds))


@pytest.fixture
def aged(tmp_path):
    found = project(tmp_path, manifest(model()))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "legs.sql").write_text("select 1")
    age(tmp_path / "dbt_project.yml", 100)
    age(tmp_path / "models" / "legs.sql", 200)
    age(tmp_path / "target" / "manifest.json", 300)
    return found


def warnings_of(found):
    warnings = []
    load_registry(found, warn=warnings.append)
    return warnings


def test_a_manifest_newer_than_the_project_is_not_doubted(aged):
    assert warnings_of(aged) == []


def test_a_manifest_older_than_a_file_is_a_warning_that_names_the_file(aged):
    (aged.root / "models" / "deep").mkdir()
    (aged.root / "models" / "deep" / "new.yml").write_text("")
    age(aged.root / "models" / "deep" / "new.yml", 400)
    (warning,) = warnings_of(aged)
    assert "manifest.json is older than models/deep/new.yml" in warning
    assert "run `dbt parse`" in warning


def test_files_that_dbt_does_not_read_make_no_manifest_old(aged):
    (aged.root / "models" / "notes.txt").write_text("")
    (aged.root / "elsewhere.sql").write_text("")
    assert warnings_of(aged) == []


def test_the_projects_own_model_paths_are_honoured(aged):
    (aged.root / "dbt_project.yml").write_text("name: shop\nmodel-paths: [transform]\n")
    age(aged.root / "dbt_project.yml", 100)
    (aged.root / "transform").mkdir()
    (aged.root / "transform" / "x.sql").write_text("select 1")
    (warning,) = warnings_of(load_project(aged.root))
    assert "transform/x.sql" in warning


def test_a_truncated_catalog_says_to_write_it_again(tmp_path):
    found = project(tmp_path, manifest(model(columns={"x": column(None)})))
    (tmp_path / "target" / "catalog.json").write_text('{"nodes": {')
    with pytest.raises(ManifestUnreadable, match=r"catalog.json is truncated(.|\n)*dbt docs generate"):
        load_registry(found)


def test_the_models_of_a_project_are_found_annotated_or_not(tmp_path):
    document = manifest(
        {"unique_id": "model.shop.plain", "name": "plain", "resource_type": "model"},
        {"unique_id": "test.shop.t", "name": "t", "resource_type": "test"},
        model(),
    )
    project(tmp_path, document)
    assert sorted(read_models(tmp_path / "target")) == ["legs", "plain"]


def test_checksums_of_a_view_and_of_what_it_is_built_from(tmp_path):
    def node(name, checksum, *parents, **more):
        return model(name, node={"checksum": checksum, "depends_on": {"nodes": list(parents)}, **more})

    sha = {"name": "sha256", "checksum": "abc"}
    nodes = [
        node("legs", {"name": "sha256", "checksum": "own"}, "model.shop.stg", "source.shop.raw"),
        node("stg", sha, "seed.shop.codes", "model.shop.base", "model.shop.base"),
        node("base", None),
        node("codes", {"name": "path", "checksum": "seeds/codes.csv"}, kind="seed"),
        node("other", sha, "model.shop.base"),
    ]
    found = project(tmp_path, manifest(*nodes))
    assert sql_checksums(found.target_path, ["model.shop.legs", "model.shop.gone"]) == {
        "model.shop.legs": {"model.shop.legs": "own", "model.shop.stg": "abc"},
        "model.shop.gone": {},
    }


@pytest.mark.parametrize("name", ["dbt_1_11", "dbt_1_12", "dbt_2_0"])
def test_every_dbt_writes_checksums(tmp_path, name):
    text = (Path(__file__).parents[1] / "fixtures" / "manifests" / f"{name}.json").read_text()
    found = project(tmp_path, text)
    (view,) = sql_checksums(found.target_path, ["model.shop.customer_orders.v1"]).values()
    assert list(view) == ["model.shop.customer_orders.v1", "model.shop.stg_orders"]
