"""init: sets up an existing dbt project, overwrites nothing, and what it proposes is valid."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from featurelayer.cli import main
from featurelayer.dbt import load_project, load_registry
from featurelayer.dbt.suggest import add_package, local_package
from tests.profiles import examples
from tests.servers import commands
from tests.unit.dbt_projects import manifest

ORDERS = {
    "order_id": "integer",
    "customer_id": "bigint",
    "ordered_at": "timestamp",
    "loaded_at": "timestamp",
    "amount": "decimal(18, 2)",
    "yes": "boolean",
    'an "odd" näme': "varchar",
}


def node(name="orders", columns=None, **more):
    declared = {key: {"name": key, "data_type": text} for key, text in (ORDERS if columns is None else columns).items()}
    return {
        "unique_id": f"model.shop.{name}",
        "name": name,
        "resource_type": "model",
        "relation_name": f'"db"."main"."{name}"',
        "columns": declared,
        "config": {"materialized": "table", **more.pop("config", {})},
        "original_file_path": f"models/{name}.sql",
        **more,
    }


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """An existing project that has never heard of featurelayer."""
    (tmp_path / "dbt_project.yml").write_text("name: shop\nprofile: shop\n")
    (tmp_path / "profiles.yml").write_text("shop: {target: ci, outputs: {ci: {type: duckdb, path: x.db}}}\n")
    (tmp_path / "target").mkdir()
    monkeypatch.chdir(tmp_path)

    def write(*nodes):
        (tmp_path / "target" / "manifest.json").write_text(json.dumps(manifest(*nodes)))
        return tmp_path

    write(node())
    return write


def run(capsys, *arguments):
    code = main(["init", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def snapshot(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_init_writes_the_package_and_the_configuration(shop, capsys):
    root = shop()
    code, out, err = run(capsys)
    assert (code, out) == (0, "")
    assert yaml.safe_load((root / "packages.yml").read_text()) == {"packages": [{"local": "featurelayer_package"}]}
    assert yaml.safe_load((root / "featurelayer_package" / "dbt_project.yml").read_text())["name"] == "featurelayer"
    config = yaml.safe_load((root / "featurelayer.yml").read_text())
    assert config == {"entities": {}, "online_store": {"ci": {"type": "sqlite", "path": ".featurelayer/online.db"}}}
    assert "Wrote packages.yml. Run `dbt deps`." in err
    assert "featurelayer init --model NAME" in err
    assert load_project(root).config.online_store["type"] == "sqlite"


def test_a_second_init_changes_nothing(shop, capsys):
    root = shop(node())
    assert run(capsys, "--model", "orders")[0] == 0
    before = snapshot(root)
    code, out, err = run(capsys, "--model", "orders")
    assert code == 0
    assert snapshot(root) == before
    assert "packages.yml names the featurelayer package already; left as it is." in err
    assert "featurelayer.yml is there already; left as it is." in err
    assert out.startswith("models:\n")


def test_a_git_repository_may_be_named(shop, capsys):
    root = shop()
    assert run(capsys, "--git", "https://git.example.com/featurelayer.git")[0] == 0
    (entry,) = yaml.safe_load((root / "packages.yml").read_text())["packages"]
    assert entry == {"git": "https://git.example.com/featurelayer.git", "subdirectory": "macros", "revision": "v0.1.0"}
    assert not (root / "featurelayer_package").exists()


def test_a_package_that_is_there_already_is_not_copied(shop, capsys):
    root = shop()
    text = "packages:\n  - git: https://git.example.com/featurelayer.git\n    subdirectory: macros\n"
    (root / "packages.yml").write_text(text)
    assert run(capsys)[0] == 0
    assert (root / "packages.yml").read_text() == text
    assert not (root / "featurelayer_package").exists()


def test_a_local_package_is_known_by_its_name_and_not_by_its_folder(shop, capsys):
    root = shop()
    (root.parent / "macros").mkdir()
    (root.parent / "macros" / "dbt_project.yml").write_text("name: featurelayer\n")
    text = "packages:\n  - local: ../macros\n"
    (root / "packages.yml").write_text(text)
    assert run(capsys)[0] == 0
    assert (root / "packages.yml").read_text() == text
    assert not (root / "featurelayer_package").exists()
    (root.parent / "macros" / "dbt_project.yml").write_text("name: another\n")
    assert run(capsys)[0] == 0
    assert "featurelayer_package" in (root / "packages.yml").read_text()


PACKAGES = [
    "packages:\n  - package: dbt-labs/dbt_utils\n    version: 1.1.1  # pinned\n\n# the end\n",
    'packages:\n- package: a/b\n  version: [">=1", "<2"]',
    "# ours\npackages:\n    - local: ../x   # one\n\n    - git: u\n      revision: main\nother: 1\n",
    "other: 1\n",
    "",
    "# nothing yet\n",
]


@pytest.mark.parametrize("text", PACKAGES)
def test_an_existing_packages_file_keeps_every_line(shop, capsys, text):
    root = shop()
    (root / "packages.yml").write_text(text)
    assert run(capsys)[0] == 0
    now = (root / "packages.yml").read_text()
    old = yaml.safe_load(text) or {}
    assert yaml.safe_load(now) == {**old, "packages": [*old.get("packages", []), {"local": "featurelayer_package"}]}
    assert [line for line in now.splitlines() if line in text.splitlines()] == text.splitlines()


@pytest.mark.parametrize(
    "text",
    ["packages: [{local: ../x}]\n", "packages: []\n", "packages:\n", "{packages: [{local: x}]}\n", "packages: 3\n"],
)
def test_a_file_of_another_form_is_left_alone_and_the_entry_shown(shop, capsys, text):
    root = shop()
    (root / "packages.yml").write_text(text)
    code, _, err = run(capsys)
    assert code == 0
    assert (root / "packages.yml").read_text() == text
    assert "Add to its packages:\n  - local: featurelayer_package" in err


def test_packages_in_dependencies_yml_are_found(shop, capsys):
    root = shop()
    (root / "dependencies.yml").write_text("projects: [{name: p}]\npackages:\n  - local: ../x\n")
    assert run(capsys)[0] == 0
    assert yaml.safe_load((root / "dependencies.yml").read_text())["packages"][1] == {"local": "featurelayer_package"}
    assert not (root / "packages.yml").exists()


@settings(max_examples=examples(60), deadline=None)
@given(
    st.lists(st.sampled_from(["  - local: ../x", "    # note", "", "  - git: 'a b'", "    revision: v1"]), max_size=8),
    st.sampled_from(["", "\n", "other: [1, 2]\n", "# end"]),
)
def test_no_packages_file_is_ever_damaged(tmp_path_factory, lines, tail):
    root = tmp_path_factory.mktemp("p")
    text = "packages:\n" + "\n".join(lines) + "\n" + tail
    (root / "packages.yml").write_text(text)
    try:
        before = yaml.safe_load(text) or {}
    except yaml.YAMLError:
        return
    said = add_package(root, local_package())
    now = (root / "packages.yml").read_text()
    if now != text:
        assert "Added" in said
        assert yaml.safe_load(now) == {**before, "packages": [*(before["packages"] or []), local_package()]}
        kept = iter(now.splitlines())
        assert all(line in kept for line in text.splitlines())


# The proposed view


def test_the_proposal_makes_a_view_once_it_is_added(shop, capsys):
    root = shop(node(primary_key=["customer_id"]))
    code, out, err = run(capsys, "--model", "orders")
    assert code == 0
    assert "Merge this into the entry of 'orders'" in err
    proposed = yaml.safe_load(out)["models"][0]
    assert proposed["config"] == {
        "event_time": "ordered_at",
        "meta": {"featurelayer": {"entity": "customer", "available_at": "loaded_at"}},
    }
    annotated = node(config=proposed["config"])
    annotated["columns"] = {column["name"]: column for column in proposed["columns"]}
    shop(annotated)
    view = load_registry(load_project(root)).view("orders")
    assert [key.column for key in view.join_keys] == ["customer_id"]
    assert [feature.name for feature in view.features] == ["order_id", "amount", "yes", 'an "odd" näme']


def test_columns_and_types_come_from_the_catalog_where_the_yaml_has_none(shop, capsys):
    root = shop(node(columns={}))
    columns = {"CUSTOMER_ID": {"name": "CUSTOMER_ID", "type": "BIGINT"}, "DAY": {"name": "day", "type": "DATE"}}
    (root / "target" / "catalog.json").write_text(json.dumps({"nodes": {"model.shop.orders": {"columns": columns}}}))
    code, out, err = run(capsys, "--model", "orders")
    proposed = yaml.safe_load(out)["models"][0]
    assert code == 0
    assert proposed["config"]["meta"]["featurelayer"] == {"entity": "customer", "delay": "1 day"}
    assert proposed["config"]["event_time"] == "day"
    assert "'day' is a date" in err


def test_a_declared_entity_is_preferred_over_a_guess(shop, capsys):
    root = shop(node())
    (root / "featurelayer.yml").write_text(
        "entities:\n  buyer: {keys: {customer_id: bigint}}\n  x: {keys: {nope: int}}\n"
    )
    _, out, err = run(capsys, "--model", "orders")
    assert yaml.safe_load(out)["models"][0]["config"]["meta"]["featurelayer"]["entity"] == "buyer"
    assert "Add to its entities" not in err


def test_an_entity_to_add_by_hand_is_shown(shop, capsys):
    root = shop(node(primary_key=["customer_id"]))
    (root / "featurelayer.yml").write_text("entities: {}\n")
    _, _, err = run(capsys, "--model", "orders")
    assert (root / "featurelayer.yml").read_text() == "entities: {}\n"
    assert "Add to its entities:\n  customer:" in err


def test_a_composite_primary_key_is_a_composite_entity(shop, capsys):
    root = shop(node(primary_key=["customer_id", "order_id"]))
    _, out, _ = run(capsys, "--model", "orders")
    proposed = yaml.safe_load(out)["models"][0]
    said = {column["name"]: column.get("config") for column in proposed["columns"]}
    assert said["customer_id"] == {"meta": {"featurelayer": {"join_key": "orders.customer_id"}}}
    assert yaml.safe_load((root / "featurelayer.yml").read_text())["entities"]["orders"]["keys"] == {
        "customer_id": "bigint",
        "order_id": "integer",
    }


def test_a_model_without_a_time_is_proposed_as_static(shop, capsys):
    shop(node(columns={"customer_id": "bigint", "name": "varchar"}))
    _, out, err = run(capsys, "--model", "orders")
    assert yaml.safe_load(out)["models"][0]["config"] == {
        "meta": {"featurelayer": {"entity": "customer", "static": True}}
    }
    assert "No column looks like an event time" in err


def test_dbts_own_event_time_is_kept(shop, capsys):
    shop(node(config={"event_time": "loaded_at"}))
    _, out, _ = run(capsys, "--model", "orders")
    proposed = yaml.safe_load(out)["models"][0]["config"]
    assert proposed["event_time"] == "loaded_at"
    assert "available_at" not in proposed["meta"]["featurelayer"]


def test_a_snapshot_needs_no_event_time(shop, capsys):
    snapshot_node = node(primary_key=["tailnum"], columns={"tailnum": "varchar", "seats": "integer"})
    shop({**snapshot_node, "unique_id": "snapshot.shop.orders", "resource_type": "snapshot"})
    _, out, err = run(capsys, "--model", "orders")
    assert yaml.safe_load(out)["snapshots"][0]["config"] == {"meta": {"featurelayer": {"entity": "tailnum"}}}
    assert "static" not in err


def test_an_installation_without_the_package_says_so(shop, capsys, monkeypatch, tmp_path_factory):
    from featurelayer.dbt import suggest

    root = shop()
    monkeypatch.setattr(suggest, "__file__", str(tmp_path_factory.mktemp("x") / "featurelayer" / "dbt" / "suggest.py"))
    before = snapshot(root)
    code, _, err = run(capsys)
    assert code == 1
    assert "--git" in err
    assert snapshot(root) == before


def test_doubts_are_said(shop, capsys):
    shop(node(columns={"a": "", "b": "varchar"}, config={"meta": {"featurelayer": {}}}))
    _, out, err = run(capsys, "--model", "orders")
    assert "No column looks like a key" in err
    assert "The type of 'a' is not known" in err
    assert "'orders' is annotated already" in err
    assert "# data_type: fill in" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "order"], "there is no dbt model or snapshot 'order' (did you mean 'orders'?)"),
        (["--model", "empty"], "no column of 'empty' is known"),
    ],
)
def test_a_failure_writes_nothing(shop, capsys, arguments, said):
    root = shop(node(), node("empty", columns={}))
    before = snapshot(root)
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (1, "")
    assert said in err
    assert snapshot(root) == before


def test_no_manifest_writes_nothing(shop, capsys):
    root = shop()
    (root / "target" / "manifest.json").unlink()
    before = snapshot(root)
    code, _, err = run(capsys, "--model", "orders")
    assert code == 1
    assert "dbt parse" in err
    assert snapshot(root) == before


def test_outside_of_a_dbt_project_it_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys)
    assert code == 1
    assert "there is no dbt_project.yml here" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_with_dbt_itself_the_proposal_becomes_a_view(tmp_path):
    """init, dbt deps, the YAML it proposes, dbt parse, list: as a person would."""
    (tmp_path / "models").mkdir()
    (tmp_path / "dbt_project.yml").write_text("name: shop\nprofile: shop\nmodels: {shop: {+materialized: table}}\n")
    (tmp_path / "profiles.yml").write_text("shop: {target: dev, outputs: {dev: {type: duckdb, path: x.db}}}\n")
    sql = "select 1::bigint as customer_id, now()::timestamp as ordered_at, 2.5::double as amount"
    (tmp_path / "models" / "orders.sql").write_text(sql)
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }

    def step(*command):
        result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    dbt, featurelayer = (str(commands.folder() / name) for name in ("dbt", "featurelayer"))
    step(dbt, "build")
    step(dbt, "docs", "generate")
    proposed = step(featurelayer, "init", "--model", "orders")
    (tmp_path / "models" / "orders.yml").write_text(proposed)
    step(dbt, "deps")
    step(dbt, "parse")
    assert "orders.amount  float64  customer" in step(featurelayer, "list")


# What most YAML does not say


def catalog(root, name="orders", **columns):
    """catalog.json with these columns and types of a model."""
    listed = {key: {"name": key, "type": text} for key, text in columns.items()}
    (root / "target" / "catalog.json").write_text(json.dumps({"nodes": {f"model.shop.{name}": {"columns": listed}}}))


def data_test(name, column, model="orders", **arguments):
    kwargs = {"column_name": column, **arguments}
    unique_id = f"test.shop.{name}_{column}"
    return {
        "unique_id": unique_id,
        "name": unique_id,
        "attached_node": f"model.shop.{model}",
        "column_name": column,
        "test_metadata": {"name": name, "kwargs": kwargs},
    }


def proposed(capsys, name="orders"):
    """The proposed entry, its columns by name, and what was said."""
    code, out, err = run(capsys, "--model", name)
    assert code == 0, err
    ((entry,),) = yaml.safe_load(out).values()
    return entry["config"], {column["name"]: column.get("config", {}) for column in entry["columns"]}, err


NO_FEATURE = {"meta": {"featurelayer": {"feature": False}}}


def test_a_time_that_the_yaml_does_not_declare_is_found_in_the_catalog(shop, capsys):
    root = shop(node("customers", columns={"customer_id": "bigint"}, primary_key=["customer_id"]))
    catalog(root, "customers", customer_id="BIGINT", signed_up_at="TIMESTAMP", plan="VARCHAR")
    config, columns, err = proposed(capsys, "customers")
    assert config == {"event_time": "signed_up_at", "meta": {"featurelayer": {"entity": "customer"}}}
    assert list(columns) == ["customer_id", "signed_up_at", "plan"]
    assert "static" not in err
    assert "a dbt snapshot keeps what was known when" in err


def test_a_time_that_neither_declares_is_found_in_the_compiled_sql(shop, capsys):
    sql = 'select customer_id, signed_up_at, plan from "db"."main"."raw"'
    shop(node("customers", columns={"customer_id": "bigint"}, compiled_code=sql, language="sql"))
    config, columns, err = proposed(capsys, "customers")
    assert config["event_time"] == "signed_up_at"
    assert "static" not in config["meta"]["featurelayer"]
    assert list(columns) == ["customer_id", "signed_up_at", "plan"]
    assert "The type of 'signed_up_at' is not known" in err


def test_a_guess_from_the_yaml_alone_says_that_it_is_one(shop, capsys):
    shop(node("customers", columns={"customer_id": "bigint", "plan": "varchar"}))
    _, _, err = proposed(capsys, "customers")
    assert "Only the columns that its YAML declares are known" in err
    assert "dbt docs generate" in err
    assert "whose values past labels get, too" in err


def test_a_time_that_is_none_of_an_event_is_named_where_static_is_proposed(shop, capsys):
    columns = {"patient_id": "bigint", "birth_date": "date", "contract_ends_on": "date", "blood": "varchar"}
    shop(node("patients", columns=columns))
    config, _, err = proposed(capsys, "patients")
    assert config["meta"]["featurelayer"]["static"] is True
    assert "'birth_date', 'contract_ends_on' are times, not that of an event by the name" in err


def test_what_is_overwritten_is_known_from_its_last_change_on(shop, capsys):
    times = {"created_at": "timestamp", "updated_at": "timestamp"}
    shop(
        node("customers", columns={"customer_id": "bigint", **times}),
        node("orders", columns={"order_id": "bigint", "customer_id": "bigint", **times}),
    )
    assert proposed(capsys, "customers")[0]["event_time"] == "updated_at"
    assert proposed(capsys, "orders")[0]["event_time"] == "created_at"


def test_the_entity_of_facts_is_not_the_id_of_a_row(shop, capsys):
    shop(node(primary_key=["order_id"]), data_test("unique", "order_id"))
    config, columns, err = proposed(capsys)
    block = config["meta"]["featurelayer"]
    assert (block["entity"], block["tie_breaker"]) == ("customer", ["order_id"])
    assert columns["order_id"] == NO_FEATURE
    assert columns["customer_id"] == {"meta": {"featurelayer": {"join_key": "customer"}}}
    assert "'order_id' identifies a row of 'orders' and 'customer_id' what the row is about" in err


@pytest.mark.parametrize(
    ("name", "columns", "tests", "keys"),
    [
        ("fct_orders", ["id", "store_code", "customer_id"], [], ["store_code"]),
        ("orders", ["order_id", "channel_id", "buyer"], [("relationships", "buyer")], ["buyer"]),
        ("orders", ["order_id", "channel_id", "customer_id"], [], ["customer_id"]),
        ("dim_tariffs", ["tariff_id", "customer_id"], [], ["tariff_id"]),
        ("customers", ["customer_id", "region_id"], [("relationships", "region_id")], ["customer_id"]),
        ("stg_shop__order_items", ["order_item_id", "order_id"], [], ["order_id"]),
        ("payments", ["payment_ref", "customer_id"], [("unique", "payment_ref")], ["customer_id"]),
        ("visits", ["visit_id"], [], ["visit_id"]),
    ],
)
def test_the_key_is_what_others_refer_to(shop, capsys, name, columns, tests, keys):
    types = {**dict.fromkeys(columns, "bigint"), "happened_at": "timestamp", "amount": "double"}
    shop(node(name, columns=types), *(data_test(test, column, name) for test, column in tests))
    _, found, _ = proposed(capsys, name)
    assert [name for name, said in found.items() if "join_key" in str(said)] == keys


def test_several_columns_that_are_unique_together_are_the_key(shop, capsys):
    columns = {"customer_id": "bigint", "store_id": "bigint", "day": "date", "visits": "integer"}
    together = data_test("unique_combination_of_columns", None, "daily", combination_of_columns=list(columns)[:3])
    shop(node("daily", columns=columns), together)
    _, found, _ = proposed(capsys, "daily")
    assert [name for name, said in found.items() if "join_key" in str(said)] == ["customer_id", "store_id"]


PERSONAL = ["email", "customer_email", "e_mail", "phone_number", "first_name", "customer_name", "name",
            "street_address", "ip_address", "lastName", "date_of_birth", "username", "mobile"]  # fmt: skip
HARMLESS = ["email_opens", "email_domain", "has_phone", "address_country", "product_name", "channel_name", "named_plan",
            "email_count", "ship_city"]  # fmt: skip


def test_what_identifies_a_person_is_no_feature(shop, capsys):
    numbers = {"email_opens": "integer", "email_count": "integer", "has_phone": "boolean", "mobile": "bigint"}
    columns = {"customer_id": "bigint", "seen_at": "timestamp"}
    columns |= {name: numbers.get(name, "varchar") for name in (*PERSONAL, *HARMLESS)}
    shop(node(columns=columns))
    _, found, err = proposed(capsys)
    personal = [name for name, said in found.items() if said == NO_FEATURE]
    assert personal == PERSONAL
    assert "'email': it identifies a person" in err


def test_the_columns_of_dbts_snapshots_are_no_features(shop, capsys):
    meta = {"dbt_scd_id": "varchar", "dbt_updated_at": "timestamp", "dbt_valid_from": "timestamp",
            "dbt_valid_to": "timestamp"}  # fmt: skip
    own = node(columns={"customer_id": "bigint"}, config={"unique_key": "customer_id"})
    root = shop({**own, "unique_id": "snapshot.shop.orders", "resource_type": "snapshot"})
    listed = {
        name: {"name": name, "type": text} for name, text in {"customer_id": "BIGINT", "plan": "TEXT", **meta}.items()
    }
    found = {"nodes": {"snapshot.shop.orders": {"columns": listed}}}
    (root / "target" / "catalog.json").write_text(json.dumps(found))
    config, columns, _ = proposed(capsys)
    assert config == {"meta": {"featurelayer": {"entity": "customer"}}}
    assert list(columns) == ["customer_id", "plan"]  # what is not declared is no feature
    shop(node("plans", columns={"customer_id": "bigint", "plan": "text", **meta}))
    config, columns, _ = proposed(capsys, "plans")
    assert config == {
        "event_time": "dbt_valid_from",
        "meta": {"featurelayer": {"entity": "customer", "valid_to": "dbt_valid_to"}},
    }
    assert columns["dbt_scd_id"] == columns["dbt_updated_at"] == NO_FEATURE


def test_a_model_of_a_package_gets_no_file_that_does_not_exist(shop, capsys):
    foreign = node("visits", package_name="tracker", patch_path="tracker://models/visits.yml")
    root = shop({**foreign, "unique_id": "model.tracker.visits"})
    code, out, err = run(capsys, "--model", "visits")
    assert code == 0
    assert "models/visits" not in err
    assert "belongs to the package 'tracker'" in err
    assert "{{ ref('tracker', 'visits') }}" in err
    assert yaml.safe_load(out)["models"][0]["name"] == "visits_features"
    shop(node(package_name="shop", patch_path="shop://models/orders.yml"))
    assert "Merge this into the entry of 'orders' in models/orders.yml" in run(capsys, "--model", "orders")[2]
    assert root.exists()
