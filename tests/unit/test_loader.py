"""Views: what the annotations of a model mean, and what is said about each mistake."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from featurelayer.dbt import load_project, load_registry
from featurelayer.model import DType, Key, Owner
from featurelayer.registry import Registry
from tests.unit.dbt_projects import AT, column, exposure, manifest, model, problem, problems, project, registry, version

FIXTURES = Path(__file__).parents[1] / "fixtures" / "manifests"
MODEL = "models/features.yml -> legs"


def fixture_registry(tmp_path: Path, name: str) -> Registry:
    (tmp_path / "target").mkdir(parents=True)
    for file in ("dbt_project.yml", "featurelayer.yml"):
        (tmp_path / file).write_text((FIXTURES / "project" / file).read_text())
    (tmp_path / "target" / "manifest.json").write_bytes((FIXTURES / name).read_bytes())
    warnings: list[str] = []
    found = load_registry(load_project(tmp_path), warn=warnings.append)
    assert warnings == []
    return found


@pytest.mark.parametrize("name", ["dbt_1_12.json", "dbt_2_0.json"])
def test_every_dbt_gives_the_same_registry(tmp_path, name):
    old, new = fixture_registry(tmp_path / "old", "dbt_1_11.json"), fixture_registry(tmp_path / "new", name)
    assert old.dbt_version != new.dbt_version
    run = {key: getattr(old, key) for key in ("dbt_version", "invocation_id", "generated_at", "manifest_hash")}
    assert replace(new, **run) == old


def test_the_fixture_says_what_its_yaml_says(tmp_path):
    found = fixture_registry(tmp_path, "dbt_2_0.json")
    assert list(found.views) == [
        "customer_orders.v1",
        "customer_orders.v2",
        "customer_plan",
        "store_facts",
        "store_traffic",
    ]
    orders = found.view("customer_orders")
    assert orders.id == "customer_orders.v2"
    assert orders.relation_name == '"shop"."main"."orders_now"'
    assert orders.owner == Owner(name="Growth", email="growth@example.com")
    assert [(feature.name, str(feature.dtype)) for feature in orders.features] == [
        ("amount", "decimal(18,2)"),
        ("order_count", "int64"),
        ("embedding", "array<float32>"),
    ]
    assert orders.features[0].default == Decimal("0.10")
    assert (orders.ttl, orders.online, orders.update_frequency) == (timedelta(days=7), True, "daily")
    plan = found.view("customer_plan")
    assert (plan.event_time, plan.valid_to) == ("plan_from", "plan_to")
    assert [feature.name for feature in plan.features] == ["plan"]
    traffic = found.view("store_traffic")
    assert (traffic.event_time, traffic.ttl) == ("Measured At", timedelta(days=30))
    assert [feature.name for feature in traffic.features] == ["visitors", "select"]
    facts = found.view("store_facts")
    assert (facts.static, facts.ttl, [key.column for key in facts.join_keys]) == (True, None, ["store"])


def test_the_fixture_service_joins_versions_and_roles(tmp_path):
    service = fixture_registry(tmp_path, "dbt_1_11.json").service("churn")
    assert service.columns == (
        "customer_orders__amount",
        "customer_orders__order_count",
        "customer_orders_v1__order_count",
        "customer_plan__plan",
        "store_traffic__visitors",
        "home__is_open",
        "home__opened_on",
        "work__is_open",
    )
    assert [key.name for key in service.request_keys] == ["customer_id", "home_store", "hour", "work_store"]
    assert dict(service.aliases) == {"customer": "customer_id"}
    assert service.label_timestamp == "predicted_at"


# A view


def test_a_view_has_keys_times_and_features(tmp_path):
    view = registry(tmp_path, model(ttl="24 hours", tie_breaker="arr_delay", available_at="landed_at")).view("legs")
    assert [(key.column, key.entity, key.key, str(key.dtype)) for key in view.join_keys] == [
        ("tailnum", "plane", "tailnum", "text")
    ]
    assert [feature.name for feature in view.features] == ["arr_delay"]
    assert view.tie_breaker == ("arr_delay",)
    assert view.ttl == timedelta(hours=24)
    assert view.columns[1] == ("landed_at", DType.parse("timestamp"))
    assert view.yaml_path == "models/features.yml"


def test_a_tie_breaker_that_says_so_is_no_feature(tmp_path):
    nodes = model(tie_breaker=["flight_id"], columns={"flight_id": column("bigint", feature=False)})
    assert [feature.name for feature in registry(tmp_path, nodes).view("legs").features] == ["arr_delay"]


def test_names_are_found_whatever_their_case_and_the_declared_spelling_is_used(tmp_path):
    columns = {"TAILNUM": column("varchar", join_key="plane"), "LANDED_AT": column("timestamp")}
    view = registry(tmp_path, model(columns=columns, drop=("tailnum", "landed_at"))).view("legs")
    assert view.event_time == "LANDED_AT"
    assert [feature.name for feature in view.features] == ["arr_delay"]


def test_case_matters_where_the_warehouse_says_so(tmp_path):
    node = model(columns={"LANDED_AT": column("DateTime")}, drop=("landed_at",))
    found = problem(tmp_path, node, adapter="clickhouse", entities={"plane": {"keys": {"tailnum": "String"}}})
    assert "column 'landed_at' is not declared (did you mean 'LANDED_AT'?)" in found.what


def test_two_columns_that_differ_in_case_need_the_exact_name(tmp_path):
    columns = {"Landed_At": column("timestamp"), "LANDED_AT": column("timestamp", feature=False)}
    found = problem(tmp_path, model(columns=columns, drop=("landed_at",)))
    assert found.what.startswith("legs: column 'landed_at' is not declared")


def test_names_with_quotes_spaces_unicode_and_reserved_words_survive(tmp_path):
    odd = ["select", 'a "b"', "größe in m²", "'; DROP TABLE x; --", "a.b"]
    view = registry(tmp_path, model(columns={name: column("integer") for name in odd})).view("legs")
    assert [feature.name for feature in view.features] == ["arr_delay", *odd]


def test_the_relation_is_dbts_own_not_glued_from_parts(tmp_path):
    node = model(node={"relation_name": '"db"."s"."a_real"', "alias": "a_real", "schema": "s"})
    assert registry(tmp_path, node).view("legs").relation_name == '"db"."s"."a_real"'


def test_the_model_of_a_column_is_never_read_from_its_meta(tmp_path):
    node = model()
    block = node["config"]["meta"]
    node["columns"]["arr_delay"] = {"name": "arr_delay", "data_type": "double", "meta": block, "config": {}}
    assert [feature.name for feature in registry(tmp_path, node).view("legs").features] == ["arr_delay"]


def test_types_come_from_the_catalog_where_the_yaml_has_none(tmp_path):
    node = model(columns={"seats": column(None)})
    catalog = {"nodes": {"model.shop.legs": {"columns": {"SEATS": {"name": "SEATS", "type": "INTEGER", "index": 1}}}}}
    project(tmp_path, manifest(node))
    (tmp_path / "target" / "catalog.json").write_text(json.dumps(catalog))
    seats = load_registry(load_project(tmp_path)).view("legs").feature("seats")
    assert seats is not None
    assert str(seats.dtype) == "int32"


def test_an_unknown_type_says_how_to_make_it_known(tmp_path):
    found = problem(tmp_path, model(columns={"seats": column(None)}))
    assert found.what == "legs: the type of column 'seats' is not known"
    assert found.where == f"{MODEL} -> columns[seats].data_type"
    assert "contract" in found.fix
    assert "dbt docs generate" in found.fix
    assert found.code == "FL301"


def test_a_column_that_nobody_uses_needs_no_type(tmp_path):
    assert (
        registry(tmp_path, model(columns={"note": column(None, feature=False)})).view("legs").dtype("note") is not None
    )


def test_folder_defaults_stand_under_the_models_own_block(tmp_path):
    node = model(ttl="1 hour")
    node["config"]["meta"]["featurelayer_defaults"] = {"ttl": "9 days", "online": True, "delay": "1 minute"}
    view = registry(tmp_path, node).view("legs")
    assert (view.ttl, view.online, view.delay) == (timedelta(hours=1), True, timedelta(minutes=1))


def test_a_models_available_at_takes_the_place_of_the_folders_delay(tmp_path):
    node = model(available_at="landed_at")
    node["config"]["meta"]["featurelayer_defaults"] = {"delay": "1 minute"}
    view = registry(tmp_path, node).view("legs")
    assert (view.delay, view.available_at) == (None, "landed_at")


def test_to_say_that_a_model_is_not_static_keeps_the_folders_ttl(tmp_path):
    node = model(static=False)
    node["config"]["meta"]["featurelayer_defaults"] = {"ttl": "9 days"}
    assert registry(tmp_path, node).view("legs").ttl == timedelta(days=9)


def test_a_static_model_needs_none_of_the_folders_times(tmp_path):
    node = model(static=True)
    node["config"] |= {"event_time": None}
    node["config"]["meta"]["featurelayer_defaults"] = {"ttl": "9 days", "delay": "1 day", "created_timestamp": "x"}
    view = registry(tmp_path, node).view("legs")
    assert (view.static, view.ttl, view.delay, view.created_timestamp) == (True, None, None, None)


def test_an_unknown_type_is_said_once_of_a_column_that_is_used_twice(tmp_path):
    node = model(available_at="landed_at", columns={"landed_at": column(None)})
    assert problem(tmp_path, node).code == "FL301"


def test_folder_defaults_alone_make_no_view(tmp_path):
    node = model()
    node["config"]["meta"] = {"featurelayer_defaults": {"ttl": "9 days"}}
    node["columns"]["tailnum"]["config"] = node["columns"]["tailnum"]["meta"] = {}
    assert registry(tmp_path, node).views == {}


def test_a_mistake_in_the_folders_defaults_is_placed_there(tmp_path):
    node = model()
    node["config"]["meta"]["featurelayer_defaults"] = {"tll": "9 days"}
    found = problem(tmp_path, node)
    assert found.where == f"{MODEL} -> config.meta.featurelayer_defaults.tll"
    assert "did you mean 'ttl'?" in found.what


def test_a_disabled_model_is_no_view(tmp_path):
    assert registry(tmp_path, disabled={"model.shop.legs": [model()]}).views == {}


@pytest.mark.parametrize(
    ("dtype", "default", "value"),
    [
        ("bigint", 0, 0),
        ("double", 1, 1.0),
        ("double", "NaN", pytest.approx(float("nan"), nan_ok=True)),
        ("decimal(18,2)", "0.10", Decimal("0.10")),
        ("decimal(18,2)", 0.1, Decimal("0.10")),
        ("boolean", False, False),
        ("varchar", "x", "x"),
        ("date", "2026-01-31", datetime(2026, 1, 31).date()),
        ("timestamp", "2026-01-31T12:00:00+02:00", datetime(2026, 1, 31, 10)),
        ("double[]", [1, 2.5], [1.0, 2.5]),
        ("varchar", None, None),
        ("json", {"b": 1, "a": [None]}, '{"a":[null],"b":1}'),
        ("uuid", "12345678123456781234567812345678", "12345678-1234-5678-1234-567812345678"),
    ],
)
def test_a_default_becomes_a_value_of_its_type(tmp_path, dtype, default, value):
    feature = registry(tmp_path, model(columns={"x": column(dtype, default=default)})).view("legs").feature("x")
    assert feature is not None
    assert feature.has_default
    assert feature.default == value
    assert type(feature.default) is type(value) or dtype == "double"


@pytest.mark.parametrize(
    ("dtype", "default", "said"),
    [
        ("tinyint", 128, "128 is outside of int8, which holds -128 to 127"),
        ("utinyint", -1, "-1 is outside of uint8"),
        ("bigint", 1.5, "1.5 is no value of type int64"),
        ("bigint", "1", "'1' is no value of type int64"),
        ("bigint", True, "True is no value of type int64"),
        ("double", "1.5", "'1.5' is text"),
        ("boolean", 0, "0 is no value of type bool"),
        ("varchar", 0, "0 is no value of type text"),
        ("decimal(4,2)", "123.45", "does not fit decimal(4,2) exactly"),
        ("decimal(4,2)", "0.125", "does not fit decimal(4,2) exactly"),
        ("decimal(4,2)", True, "write a number, or text such as '12.50'"),
        ("decimal(4,2)", "Infinity", "does not fit decimal(4,2) exactly"),
        ("decimal(4,2)", "many", "does not fit decimal(4,2) exactly"),
        ("date", "yesterday", "'yesterday' is not a date such as"),
        ("timestamp", "noon", "'noon' is not a timestamp such as"),
        ("uuid", "12", "'12' is not a UUID"),
        ("double[]", ["x"], "'x' is text"),
        ("struct(a integer)", {"a": 1}, "a default can't be written for this type"),
    ],
)
def test_a_default_that_does_not_fit_is_an_error(tmp_path, dtype, default, said):
    found = problem(tmp_path, model(columns={"x": column(dtype, default=default)}))
    assert said in found.what
    assert found.where == f"{MODEL} -> columns[x].{AT}.default"


# Mistakes in a view: what, where


@pytest.mark.parametrize(
    ("said", "what", "where", "code"),
    [
        ({"entity": "plan"}, "legs: entity 'plan' is not declared (did you mean 'plane'?)", f"{AT}.entity", "FL102"),
        ({"entity": None}, "legs: it has no `entity`", f"{AT}.entity", "FL102"),
        ({"entity": ["plane", "plane"]}, "legs: it names an entity twice", f"{AT}.entity", "FL102"),
        ({"ttll": "1 day"}, "legs: unknown key 'ttll' (did you mean 'ttl'?)", f"{AT}.ttll", "FL102"),
        ({"ttl": "soon"}, "legs: 'ttl': 'soon' is not a duration", f"{AT}.ttl", "FL105"),
        ({"ttl": 7}, "legs: 'ttl': 7 is not a duration", f"{AT}.ttl", "FL105"),
        ({"ttl": "0 days"}, "legs: 'ttl': '0 days' is no time at all", f"{AT}.ttl", "FL105"),
        ({"online": "yes"}, "legs: 'online' is 'yes', not true or false", f"{AT}.online", "FL105"),
        ({"bound": "open"}, "legs: 'bound' is 'open', not 'inclusive' or 'exclusive'", f"{AT}.bound", "FL105"),
        ({"on_stale": "rise"}, "(did you mean 'raise'?)", f"{AT}.on_stale", "FL105"),
        ({"event_time": "landed_at"}, "legs: unknown key 'event_time'", f"{AT}.event_time", "FL102"),
        ({"available_at": "loaded"}, "legs: column 'loaded' is not declared", f"{AT}.available_at", "FL202"),
        ({"available_at": "landed"}, "(did you mean 'landed_at'?)", f"{AT}.available_at", "FL202"),
        ({"available_at": "arr_delay"}, "column 'arr_delay' is double, not a timestamp", f"{AT}.available_at", "FL202"),
        ({"created_timestamp": "made"}, "column 'made' is not declared", f"{AT}.created_timestamp", "FL202"),
        ({"valid_to": "end"}, "column 'end' is not declared", f"{AT}.valid_to", "FL202"),
        ({"tie_breaker": ["fligth"]}, "tie-breaker 'fligth' is not declared", f"{AT}.tie_breaker", "FL202"),
        ({"delay": "1 day", "available_at": "landed_at"}, "both `delay` and `available_at`", f"{AT}.delay", "FL205"),
        ({"ignore": [{"code": "FL203"}]}, "legs: the key 'reason' is missing", f"{AT}.ignore[0].reason", "FL105"),
        ({"monitors": 3}, "legs: 'monitors' is 3, not a mapping", f"{AT}.monitors", "FL105"),
        ({"deprecated": {"replaced_by": "lgs"}}, "which does not exist (did you mean 'legs'?)", "replaced_by", "FL102"),
        ({"deprecated": {"replaced_by": "legs"}}, "is replaced by itself", "replaced_by", "FL102"),
        (
            {
                "freshness": {
                    "warn_after": {"count": 48, "period": "hour"},
                    "error_after": {"count": 1, "period": "hour"},
                }
            },
            "legs: freshness warns later than it fails",
            f"{AT}.freshness.warn_after",
            "FL502",
        ),
        (
            {"freshness": {"warn_after": {"count": 0, "period": "hours"}, "error_after": None}},
            "'count' is 0, and must be greater than 0",
            f"{AT}.freshness.warn_after.count",
            "FL105",
        ),
    ],
)
def test_a_mistake_in_the_block_is_named_placed_and_explained(tmp_path, said, what, where, code):
    found = problems(tmp_path, model(**said))
    assert what in found[0].what
    assert found[0].where.startswith(f"{MODEL} -> ")
    assert found[0].where.endswith(where)
    assert found[0].code == code
    assert found[0].fix


@pytest.mark.parametrize("block", ["plane", [], 3])
def test_a_block_that_is_no_mapping_is_an_error(tmp_path, block):
    node = model()
    node["config"]["meta"]["featurelayer"] = block
    found = problem(tmp_path, node)
    assert "not a mapping" in found.what
    assert found.where == f"{MODEL} -> {AT}"


@pytest.mark.parametrize(
    ("config", "what", "code"),
    [
        ({"event_time": None}, "legs: it has no event time", "FL202"),
        ({"event_time": "landed"}, "legs: column 'landed' is not declared (did you mean 'landed_at'?)", "FL202"),
        ({"event_time": "tailnum"}, "legs: column 'tailnum' is varchar, not a timestamp", "FL202"),
        ({"materialized": "ephemeral"}, "legs: an ephemeral model has no relation", "FL109"),
    ],
)
def test_a_mistake_in_dbts_own_configuration_is_an_error(tmp_path, config, what, code):
    found = problem(tmp_path, model(config={**config, "meta": model()["config"]["meta"]}))
    assert found.what.startswith(what)
    assert found.code == code
    assert found.where.startswith(f"{MODEL} -> config.")


def test_no_event_time_names_both_ways_out(tmp_path):
    found = problem(tmp_path, model(config={"event_time": None, "meta": model()["config"]["meta"]}))
    assert "static: true" in found.fix
    assert found.where == f"{MODEL} -> config.event_time"


def test_a_date_as_event_time_needs_a_delay(tmp_path):
    dated = {"landed_at": column("date")}
    found = problem(tmp_path, model(columns=dated))
    assert found.what == "legs: its event time 'landed_at' is a date without `delay`"
    assert "delay: 1 day" in found.fix
    assert registry(tmp_path, model(columns=dated, delay="0 days")).view("legs").delay == timedelta()
    known = {**dated, "loaded_at": column("timestamp")}
    assert registry(tmp_path, model(columns=known, available_at="loaded_at")).view("legs").available_at == "loaded_at"


@pytest.mark.parametrize(
    "said", [{"ttl": "1 day"}, {"delay": "1 day"}, {"available_at": "landed_at"}, {"valid_to": "landed_at"}]
)
def test_a_static_view_has_no_times(tmp_path, said):
    node = model(static=True, **said)
    node["config"]["event_time"] = None
    found = problem(tmp_path, node)
    assert found.what == f"legs: it is static and has `{next(iter(said))}`"
    assert found.code == "FL205"


def test_a_static_view_has_no_event_time(tmp_path):
    found = problem(tmp_path, model(static=True))
    assert found.what == "legs: it is static and has the event time 'landed_at'"


# Join keys


def test_a_composite_key_names_each_part(tmp_path):
    columns = {
        "hour": column("bigint", join_key="airport_hour"),
        "code": column("varchar", join_key="airport_hour.airport"),
    }
    view = registry(tmp_path, model(entity="airport_hour", columns=columns, drop=("tailnum",))).view("legs")
    assert [(key.key, key.column) for key in view.join_keys] == [("airport", "code"), ("hour", "hour")]


def test_keys_are_in_the_order_of_the_listed_entities(tmp_path):
    columns = {
        "hour": column("integer", join_key="airport_hour"),
        "airport": column("varchar", join_key="airport_hour"),
    }
    view = registry(tmp_path, model(entity=["airport_hour", "plane"], columns=columns)).view("legs")
    assert [key.column for key in view.join_keys] == ["airport", "hour", "tailnum"]
    assert view.entities == ("airport_hour", "plane")


def test_dbts_own_entity_of_a_column_is_a_join_key(tmp_path):
    view = registry(tmp_path, model(columns={"tailnum": column("varchar", {"name": "plane", "type": "primary"})})).view(
        "legs"
    )
    assert [key.column for key in view.join_keys] == ["tailnum"]


def test_dbts_own_entity_and_join_key_may_agree(tmp_path):
    native = column("varchar", {"name": "plane"}, join_key="plane")
    assert registry(tmp_path, model(columns={"tailnum": native})).view("legs").join_keys


def test_an_entity_of_the_semantic_layer_that_is_not_ours_is_left_alone(tmp_path):
    node = model(columns={"owner_id": column("bigint", {"name": "owner", "type": "foreign"})})
    assert [feature.name for feature in registry(tmp_path, node).view("legs").features] == ["arr_delay", "owner_id"]


@pytest.mark.parametrize(
    ("columns", "what", "where"),
    [
        ({"tailnum": column("varchar")}, "no column is the join key of 'plane'", "columns"),
        (
            {"owner": column("varchar", join_key="plane")},
            "several columns are the join key of 'plane': tailnum, owner",
            "columns",
        ),
        (
            {"tailnum": column("varchar", {"name": "carrier"}, join_key="plane")},
            "column 'tailnum' has the join_key 'plane' and the native entity 'carrier'",
            f"columns[tailnum].{AT}.join_key",
        ),
        (
            {"tailnum": column("varchar", join_key="plain")},
            "column 'tailnum' is the key of 'plain', which the view does not list (did you mean 'plane'?)",
            f"columns[tailnum].{AT}.join_key",
        ),
        (
            {"tailnum": column("varchar", join_key="plane.tail")},
            "entity 'plane' has no key 'tail' (did you mean 'tailnum'?)",
            f"columns[tailnum].{AT}.join_key",
        ),
    ],
)
def test_a_mistake_in_the_join_keys_is_fl103(tmp_path, columns, what, where):
    found = problems(tmp_path, model(columns=columns))[0]
    assert found.what == f"legs: {what}"
    assert found.where == f"{MODEL} -> {where}"
    assert found.code == "FL103"
    assert found.fix


def test_a_column_of_an_entity_with_several_keys_says_which(tmp_path):
    columns = {"a": column("varchar", join_key="airport_hour"), "hour": column("integer", join_key="airport_hour")}
    found = problems(tmp_path, model(entity="airport_hour", columns=columns, drop=("tailnum",)))
    assert found[0].what == "legs: column 'a' does not declare which key of 'airport_hour' it holds"
    assert "join_key: airport_hour.airport" in found[0].fix


def test_a_key_of_another_type_is_an_error_not_a_cast(tmp_path):
    found = problem(tmp_path, model(columns={"tailnum": column("bigint", join_key="plane")}))
    assert found.what == "legs: join key 'tailnum' is int64, the key of 'plane' is declared text"
    assert found.where == f"{MODEL} -> columns[tailnum].data_type"
    assert found.code == "FL303"


def test_a_key_can_not_be_a_feature_too(tmp_path):
    found = problem(tmp_path, model(columns={"tailnum": column("varchar", join_key="plane", default="x")}))
    assert found.what == "legs: column 'tailnum' is a key or a time and can't be a feature"


def test_a_key_of_unknown_type_says_how_to_make_it_known(tmp_path):
    found = problem(tmp_path, model(columns={"tailnum": column(None, join_key="plane")}))
    assert found.what == "legs: the type of join key 'tailnum' is not known"
    assert found.code == "FL301"


def test_a_model_without_a_relation_is_refused(tmp_path):
    found = problems(tmp_path, model(node={"relation_name": None}))
    assert found[0].what == "legs: dbt names no relation for it"


def test_a_group_may_have_several_addresses(tmp_path):
    group = {
        "name": "ops",
        "package_name": "shop",
        "owner": {"name": "Ops", "email": ["a@example.com", "b@example.com"]},
    }
    node = model(config={"group": "ops", "meta": model()["config"]["meta"]})
    found = registry(tmp_path, node, groups={"group.shop.ops": group}).view("legs")
    assert found.owner == Owner(name="Ops", email="a@example.com, b@example.com")


# Features


@pytest.mark.parametrize("dtype", ["struct(a integer)", "map(varchar, integer)", "time", "interval", "geometry"])
def test_online_a_type_that_the_store_can_not_hold_is_an_error(tmp_path, dtype):
    columns = {"x": column(dtype)}
    assert registry(tmp_path, model(columns=columns)).view("legs").feature("x")
    found = problem(tmp_path, model(columns=columns, online=True))
    assert found.what == f"legs: feature 'x' is {dtype}, which the online store can't hold"
    assert found.code == "FL501"
    assert found.where == f"{MODEL} -> columns[x].data_type"


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ({"range": [3, 1]}, "holds nothing"),
        ({"range": [1]}, "is not a range"),
        ({"range": ["a", None]}, "is not a range"),
        ({"tags": [1]}, "'tags[0]' is 1, not text"),
        ({"unti": "m"}, "unknown key 'unti' (did you mean 'unit'?)"),
        ({"deprecated": {"replaced_by": "arr_dely"}}, "which does not exist (did you mean 'legs.arr_delay'?)"),
        ({"deprecated": {"replaced_by": "x"}}, "deprecated feature 'legs.x' is replaced by itself"),
    ],
)
def test_a_mistake_in_a_columns_block_is_placed_at_the_column(tmp_path, said, what):
    found = problem(tmp_path, model(columns={"x": column("double", **said)}))
    assert what in found.what
    assert found.where.startswith(f"{MODEL} -> columns[x].{AT}.{next(iter(said))}")


def test_a_range_needs_numbers(tmp_path):
    found = problem(tmp_path, model(columns={"x": column("varchar", range=[0, 1])}))
    assert found.what == "legs: feature 'x' is text and has a range"


def test_a_view_without_features_is_an_error(tmp_path):
    assert problem(tmp_path, model(drop=("arr_delay",))).what == "legs: it has no features"


# Where annotations do not count


def test_meta_outside_of_config_is_fl101(tmp_path):
    node = model()
    node["meta"] = node["config"].pop("meta")
    found = problem(tmp_path, node)
    assert found.code == "FL101"
    assert found.where == f"{MODEL} -> meta"
    assert "dbt 2 drops" in found.fix


def test_meta_of_a_column_outside_of_config_is_fl101(tmp_path):
    node = model()
    node["columns"]["arr_delay"] = {"name": "arr_delay", "data_type": "double", "meta": {"featurelayer": {"unit": "m"}}}
    found = problem(tmp_path, node)
    assert found.code == "FL101"
    assert found.where == f"{MODEL} -> columns[arr_delay].meta"


def test_annotated_columns_without_an_annotated_model_are_an_error(tmp_path):
    node = model()
    node["config"]["meta"] = {}
    assert problem(tmp_path, node).what == "legs: its columns are annotated, the model itself is not"


def test_a_seed_is_no_view(tmp_path):
    assert problem(tmp_path, model(kind="seed")).what == "legs: a seed can't be a feature view"


# Snapshots


def snapshot(**more):
    config = {"event_time": None, "meta": {"featurelayer": {"entity": "plane"}}, **more.pop("config", {})}
    return model(kind="snapshot", config=config, drop=("landed_at",), **more)


def test_a_snapshot_has_its_times_without_saying_so(tmp_path):
    view = registry(tmp_path, snapshot(columns={"dbt_scd_id": column("varchar")})).view("legs")
    assert (view.event_time, view.valid_to, view.resource_type) == ("dbt_valid_from", "dbt_valid_to", "snapshot")
    assert [feature.name for feature in view.features] == ["arr_delay"]
    assert view.dtype("dbt_valid_to") == DType.parse("timestamp")


def test_a_snapshots_renamed_columns_are_honoured(tmp_path):
    renamed = {"snapshot_meta_column_names": {"dbt_valid_from": "since", "dbt_valid_to": "till", "dbt_scd_id": None}}
    view = registry(tmp_path, snapshot(config=renamed, columns={"SINCE": column("timestamp")})).view("legs")
    assert (view.event_time, view.valid_to) == ("SINCE", "till")
    assert [feature.name for feature in view.features] == ["arr_delay"]


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ({"dbt_valid_to_current": "to_date('9999-12-31')"}, "`dbt_valid_to_current` gives open rows an end"),
        ({"hard_deletes": "new_record"}, "`hard_deletes: new_record` adds rows"),
    ],
)
def test_a_snapshot_that_can_not_be_represented_is_refused(tmp_path, config, what):
    found = problem(tmp_path, snapshot(config=config))
    assert what in found.what
    assert found.code == "FL206"


def test_a_snapshot_is_never_static(tmp_path):
    node = snapshot()
    node["config"]["meta"]["featurelayer"]["static"] = True
    assert problem(tmp_path, node).what == "legs: a snapshot has times and can't be static"


# Versions


def test_versions_are_views_of_their_own(tmp_path):
    nodes = version(1, latest=1), version(2, latest=1)
    found = registry(tmp_path, *nodes)
    assert list(found.views) == ["legs.v1", "legs.v2"]
    assert found.view("legs").id == "legs.v1"
    assert found.view("legs.v2").prefix == "legs_v2"


def test_two_views_of_one_name_are_an_error(tmp_path):
    other = model(node={"unique_id": "model.other.legs", "package_name": "other"})
    found = problem(tmp_path, model(), other)
    assert found.what == "two feature views are named 'legs': model.shop.legs and model.other.legs"
    assert found.code == "FL603"


# Entities


@pytest.mark.parametrize(
    ("entities", "what", "where"),
    [
        ({"plane": {"keys": {}}}, "'keys' is empty", "entities.plane.keys"),
        ({"plane": {"key": {"tailnum": "varchar"}}}, "unknown key 'key' (did you mean 'keys'?)", "entities.plane.key"),
        ({"plane": {"keys": {"tailnum": "double"}}}, "can't identify anything", "entities.plane.keys.tailnum"),
        (
            {"plane": {"keys": {"tailnum": "wat"}}},
            "is wat, which can't identify anything",
            "entities.plane.keys.tailnum",
        ),
        ({"a.b": {"keys": {"tailnum": "varchar"}}}, "'a.b' can't be an entity's name", "entities"),
        ({"plane": None}, "'plane' is None, not a mapping", "entities.plane"),
    ],
)
def test_a_mistake_in_an_entity_is_placed_in_featurelayer_yml(tmp_path, entities, what, where):
    found = problems(tmp_path, entities=entities)
    assert any(what in each.what and each.where == f"featurelayer.yml -> {where}" for each in found)


def test_a_broken_entity_is_reported_once_and_not_by_its_views(tmp_path):
    found = problem(
        tmp_path, model(), exposures=(exposure("legs.*"),), entities={"plane": {"keys": {"tailnum": "double"}}}
    )
    assert found.where == "featurelayer.yml -> entities.plane.keys.tailnum"


def test_an_unknown_key_of_featurelayer_yml_is_an_error(tmp_path):
    found = problem(tmp_path, config="entitys: {}\n")
    assert found.what == "unknown key 'entitys' (did you mean 'entities'?)"
    assert found.where == "featurelayer.yml -> entitys"


def test_entities_have_owners_and_typed_keys(tmp_path):
    entities = {"plane": {"owner": "Ops", "keys": {"tailnum": "varchar", "n": "bigint"}}}
    entity = registry(tmp_path, entities=entities).entity("plane")
    assert entity.owner == Owner(name="Ops")
    assert entity.keys == (Key(name="tailnum", dtype=DType.parse("text")), Key(name="n", dtype=DType.parse("int64")))


# All at once


def test_every_problem_of_the_project_is_in_one_error(tmp_path):
    found = problems(
        tmp_path,
        model("a", ttl="soon"),
        model("b", entity="plan", available_at="nope", columns={"x": column("tinyint", default=1000)}),
        exposures=(exposure("a.arr_delay", "legz.x", 3),),
        config="entities: {plane: {keys: {tailnum: varchar}}}\nonlin: {}\n",
    )
    said = "\n".join(each.what for each in found)
    for part in ("'soon'", "entity 'plan'", "'nope'", "1000 is outside", "3 is neither", "unknown key 'onlin'"):
        assert part in said


def test_an_unknown_key_hides_no_other_mistake(tmp_path):
    node = model(ttll="1 day", entity="plan", columns={"speed": column("double", unti="mph", range=[2, 1])})
    node["config"]["event_time"] = "landet_at"
    found = [problem.what for problem in problems(tmp_path, node)]
    for part in ("'ttll'", "'landet_at'", "entity 'plan'", "[2, 1]", "'unti'"):
        assert sum(part in what for what in found) == 1, (part, found)


def test_a_key_column_with_an_unknown_key_is_still_the_key(tmp_path):
    node = model(columns={"tailnum": column("varchar", join_key="plane", unti="x")})
    assert [problem.what for problem in problems(tmp_path, node)] == ["legs: unknown key 'unti' (did you mean 'unit'?)"]
