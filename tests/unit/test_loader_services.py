"""Services: what an exposure's features mean, and what is said about each mistake."""

import pytest

from featurelayer.model import DType, Key, Owner, ServiceView
from tests.unit.dbt_projects import AT, column, exposure, model, problem, problems, registry, version

SERVICE = "models/services.yml -> late"
LINE = f"{SERVICE} -> {AT}.features[0]"
ENTITIES = {
    "plane": {"keys": {"tailnum": "varchar"}},
    "airport": {"keys": {"code": "varchar"}},
    "airport_hour": {"keys": {"airport": "varchar", "hour": "integer"}},
}


def weather(**more):
    columns = {"airport": column("varchar", join_key="airport"), "wind": column("double"), "precip": column("double")}
    drop = ("tailnum", "arr_delay")
    return model("weather", entity="airport", columns=columns, drop=drop, **more)


def service(tmp_path, *features, nodes=None, **more):
    nodes = nodes or (model(), weather())
    depends_on = more.pop("depends_on", tuple(node["unique_id"] for node in nodes))
    exposed = exposure(*features, depends_on=depends_on, **more)
    return registry(tmp_path, *nodes, exposures=(exposed,), entities=ENTITIES).service("late")


def mistake(tmp_path, *features, nodes=None, **more):
    nodes = nodes or (model(), weather())
    depends_on = more.pop("depends_on", tuple(node["unique_id"] for node in nodes))
    disabled = more.pop("disabled", {})
    exposed = exposure(*features, depends_on=depends_on, **more)
    return problem(tmp_path, *nodes, exposures=(exposed,), entities=ENTITIES, disabled=disabled)


def test_a_service_says_what_a_request_needs_and_what_it_gives(tmp_path):
    found = service(
        tmp_path,
        "legs.arr_delay",
        {"view": "weather", "role": "origin", "keys": {"airport": "origin"}, "features": ["wind", "precip"]},
        label_timestamp="predicted_at",
        node={"description": " Late? ", "maturity": "high", "tags": ["b", "a"]},
    )
    assert found.views == (
        ServiceView(view="legs", prefix="legs", features=("arr_delay",), keys=(("tailnum", "tailnum"),)),
        ServiceView(
            view="weather", prefix="origin", role="origin", features=("wind", "precip"), keys=(("airport", "origin"),)
        ),
    )
    text = DType.parse("text")
    assert found.request_keys == (Key(name="tailnum", dtype=text), Key(name="origin", dtype=text))
    assert found.columns == ("legs__arr_delay", "origin__wind", "origin__precip")
    assert dict(found.aliases) == {"plane": "tailnum"}
    assert (found.label_timestamp, found.description, found.maturity, found.tags) == (
        "predicted_at",
        "Late?",
        "high",
        ("a", "b"),
    )
    assert found.owner == Owner(name="Ops", email="ops@example.com")


def test_one_view_in_two_roles_asks_for_two_keys(tmp_path):
    found = service(
        tmp_path,
        {"view": "weather", "role": "origin", "keys": {"airport": "origin"}, "features": ["wind"]},
        {"view": "weather", "role": "dest", "keys": {"code": "dest"}, "features": "*"},
    )
    assert found.columns == ("origin__wind", "dest__wind", "dest__precip")
    assert [key.name for key in found.request_keys] == ["origin", "dest"]
    assert dict(found.aliases) == {}


def test_lines_of_one_view_and_role_are_one_join_at_the_place_of_the_first(tmp_path):
    found = service(tmp_path, "weather.wind", "legs.arr_delay", "weather.precip")
    assert [view.view for view in found.views] == ["weather", "legs"]
    assert found.columns == ("weather__wind", "weather__precip", "legs__arr_delay")


def test_a_mapping_without_features_means_all(tmp_path):
    assert service(tmp_path, {"view": "weather"}).columns == ("weather__wind", "weather__precip")


def test_an_entity_is_no_alias_where_two_keys_would_be_meant(tmp_path):
    other = model("facts")
    found = service(tmp_path, "legs.*", {"view": "facts", "keys": {"plane": "inbound"}}, nodes=(model(), other))
    assert [key.name for key in found.request_keys] == ["tailnum", "inbound"]
    assert dict(found.aliases) == {}


def test_keys_may_be_named_in_full(tmp_path):
    columns = {
        "airport": column("varchar", join_key="airport_hour"),
        "hour": column("integer", join_key="airport_hour"),
    }
    node = model(entity="airport_hour", columns=columns, drop=("tailnum",))
    found = service(tmp_path, {"view": "legs", "keys": {"airport_hour.airport": "origin"}}, nodes=(node,))
    assert found.views[0].keys == (("airport", "origin"), ("hour", "hour"))
    assert [str(key.dtype) for key in found.request_keys] == ["text", "int32"]


def test_versions_have_their_own_columns_and_the_bare_name_is_the_latest(tmp_path):
    nodes = version(1, latest=2), version(2, latest=2)
    found = service(tmp_path, "legs.v1.arr_delay", "legs.arr_delay", nodes=nodes)
    assert [(view.view, view.prefix) for view in found.views] == [("legs.v1", "legs_v1"), ("legs.v2", "legs")]


def test_the_same_version_twice_under_both_names_is_two_joins(tmp_path):
    nodes = version(1, latest=2), version(2, latest=2)
    found = service(tmp_path, "legs.arr_delay", "legs.v2.arr_delay", nodes=nodes)
    assert found.columns == ("legs__arr_delay", "legs_v2__arr_delay")


def test_a_dashboard_and_a_plain_ml_exposure_are_no_services(tmp_path):
    plain = exposure(name="plain", node={"config": {"meta": {}}})
    board = exposure(name="board", node={"type": "dashboard", "config": {"meta": {"featurelayerish": 1}}})
    assert registry(tmp_path, model(), exposures=(plain, board)).services == {}


@pytest.mark.parametrize(
    ("line", "what", "where", "code"),
    [
        ("leg.arr_delay", "there is no feature view 'leg' (did you mean 'legs'?)", LINE, "FL302"),
        ("legs.arr_dely", "feature view 'legs' has no feature 'arr_dely' (did you mean 'arr_delay'?)", LINE, "FL302"),
        ("legs.landed_at", "feature view 'legs' has no feature 'landed_at'", LINE, "FL302"),
        ("legs", "'legs' does not name a feature", LINE, "FL302"),
        ({"view": "legs", "rol": "x"}, "late: unknown key 'rol' (did you mean 'role'?)", f"{LINE}.rol", "FL102"),
        ({"features": ["x"]}, "late: 'features[0]': the key 'view' is missing", LINE, "FL105"),
        (7, "late: 'features[0]': 7 is neither view.feature nor a mapping", LINE, "FL105"),
        ({"view": "legs", "features": []}, "late: 'features' is empty", f"{LINE}.features", "FL105"),
        ({"view": "legs", "keys": {"tail": "t"}}, "feature view 'legs' has no key 'tail' (did you mean", LINE, "FL107"),
        ({"view": "legs", "keys": {"tailnum": "a", "plane": "b"}}, "the key of 'plane' is given twice", LINE, "FL107"),
        ({"view": "legs", "keys": {"tailnum": 3}}, "late: 'tailnum' is 3, not text", f"{LINE}.keys.tailnum", "FL105"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_line_is_named_placed_and_explained(tmp_path, line, what, where, code):
    found = mistake(tmp_path, line)
    assert found.what.startswith(what)
    assert (found.where, found.code) == (where, code)


def test_a_feature_named_twice_is_an_error(tmp_path):
    found = mistake(tmp_path, "legs.arr_delay", "legs.*")
    assert found.what == "feature 'legs.arr_delay' is named twice"
    assert found.where == f"{SERVICE} -> {AT}.features[1]"


def test_two_joins_of_one_name_are_an_error(tmp_path):
    lines = {"view": "weather", "keys": {"airport": "origin"}}, {"view": "weather", "keys": {"airport": "dest"}}
    found = problems(
        tmp_path, weather(), exposures=(exposure(*lines, depends_on=("model.shop.weather",)),), entities=ENTITIES
    )
    assert "two joins (weather and weather) would both name their columns 'weather__...'" in found[0].what
    assert "role" in found[0].fix
    assert found[0].code == "FL602"


def test_one_label_column_can_not_have_two_types(tmp_path):
    columns = {
        "airport": column("varchar", join_key="airport_hour"),
        "hour": column("integer", join_key="airport_hour"),
    }
    hours = model("hours", entity="airport_hour", columns=columns, drop=("tailnum",))
    line = {"view": "hours", "keys": {"hour": "tailnum"}}
    found = mistake(tmp_path, "legs.*", line, nodes=(model(), hours))
    assert found.what == "label column 'tailnum' would be both text and int32 (hours.hour)"
    assert found.code == "FL304"


def test_two_keys_of_a_view_can_not_share_a_label_column(tmp_path):
    columns = {
        "airport": column("varchar", join_key="airport_hour"),
        "hour": column("integer", join_key="airport_hour"),
    }
    hours = model("hours", entity="airport_hour", columns=columns, drop=("tailnum",))
    found = problems(
        tmp_path,
        hours,
        exposures=(
            exposure({"view": "hours", "keys": {"hour": "x", "airport": "x"}}, depends_on=("model.shop.hours",)),
        ),
        entities=ENTITIES,
    )
    assert found[0].what == "two keys of feature view 'hours' would read the same label column"


def test_a_feature_column_can_not_be_named_like_a_label_column(tmp_path):
    found = mistake(tmp_path, "legs.arr_delay", label_timestamp="LEGS__arr_delay")
    assert "would be named like the label column" in found.what
    assert found.code == "FL602"


def test_a_view_that_depends_on_lacks_is_an_error(tmp_path):
    found = mistake(tmp_path, "legs.arr_delay", depends_on=("model.shop.weather",))
    assert found.what == "late: it uses feature view 'legs', which its depends_on lacks"
    assert found.fix == "add `- ref('legs')` to depends_on, as a line of its own"
    assert (found.where, found.code) == (f"{SERVICE} -> depends_on", "FL108")


def test_a_version_that_depends_on_lacks_is_named_with_its_number(tmp_path):
    nodes = version(1, latest=2), version(2, latest=2)
    found = mistake(tmp_path, "legs.v1.*", nodes=nodes, depends_on=("model.shop.legs.v2",))
    assert found.fix == "add `- ref('legs', v=1)` to depends_on, as a line of its own"


def test_a_disabled_view_is_said_to_be_disabled(tmp_path):
    found = mistake(tmp_path, "gone.x", disabled={"model.shop.gone": [model("gone")]})
    assert found.what == "feature view 'gone' is disabled in dbt"
    assert found.where == LINE


def test_a_dbt_model_that_is_no_view_is_said_to_be_none(tmp_path):
    plain = {"unique_id": "model.shop.plain", "name": "plain", "resource_type": "model"}
    found = mistake(tmp_path, "plain.x", nodes=(model(), plain))
    assert found.what == "dbt model 'plain' is not a feature view"
    assert "featurelayer: {entity: ...}" in found.fix


def test_a_view_with_problems_is_not_reported_again_by_its_services(tmp_path):
    found = problem(tmp_path, model(ttl="soon"), exposures=(exposure("legs.arr_delay"),))
    assert "'soon'" in found.what


def test_a_service_that_is_no_ml_exposure_is_an_error(tmp_path):
    found = problem(tmp_path, model(), exposures=(exposure("legs.*", node={"type": "dashboard"}),))
    assert found.what == "late: an exposure of type 'dashboard' can't be a feature service"


def test_meta_of_an_exposure_outside_of_config_is_fl101(tmp_path):
    node = {"config": {}, "meta": {"featurelayer": {"features": ["legs.*"]}}}
    found = problem(tmp_path, model(), exposures=(exposure(node=node),))
    assert (found.code, found.where) == ("FL101", f"{SERVICE} -> meta")


@pytest.mark.parametrize(("block", "what"), [({}, "'features' is missing"), ({"features": []}, "'features' is empty")])
def test_a_service_has_features(tmp_path, block, what):
    found = problem(tmp_path, model(), exposures=(exposure(node={"config": {"meta": {"featurelayer": block}}}),))
    assert what in found.what


def test_two_services_of_one_name_are_an_error(tmp_path):
    twice = exposure("legs.*"), exposure("legs.*", node={"unique_id": "exposure.other.late"})
    assert "two feature services are named 'late'" in problem(tmp_path, model(), exposures=twice).what


def test_a_service_may_name_the_model_of_its_labels(tmp_path):
    labels = {"unique_id": "seed.shop.cases", "name": "cases", "resource_type": "seed"}
    assert service(tmp_path, "legs.arr_delay", label_timestamp="at").labels is None
    for name in ("cases", "legs", "weather"):
        found = service(tmp_path, "legs.arr_delay", nodes=(model(), weather(), labels), labels=name)
        assert found.labels == name


@pytest.mark.parametrize(
    ("disabled", "what"),
    [
        ({}, "there is no dbt model 'casse' for its labels (did you mean 'cases'?)"),
        ({"model.shop.casse": []}, "its labels' model 'casse' is disabled in dbt"),
    ],
)
def test_labels_that_dbt_does_not_have(tmp_path, disabled, what):
    nodes = (model(), {"unique_id": "model.shop.cases", "name": "cases", "resource_type": "model"})
    found = mistake(
        tmp_path,
        "legs.arr_delay",
        nodes=nodes,
        depends_on=("model.shop.legs",),
        labels="casse",
        disabled=disabled,
    )
    assert found.what == f"late: {what}"
    assert found.where == f"{SERVICE} -> {AT}.labels"
    assert found.code == "FL302"
