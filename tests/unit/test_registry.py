"""The registry: looked up with suggestions, ad hoc services, and JSON that reads back exactly."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurelayer.dbt import load_project, load_registry
from featurelayer.errors import ArtifactError, PlanError, UnknownNameError
from featurelayer.model import (
    Deprecation,
    DType,
    Entity,
    Feature,
    FeatureService,
    FeatureView,
    Freshness,
    Ignore,
    JoinKey,
    Key,
    Owner,
    ServiceView,
)
from featurelayer.registry import Registry, split_reference
from tests.profiles import examples
from tests.unit.dbt_projects import column, exposure, model, registry, version


@pytest.fixture
def shop(tmp_path):
    facts = model("facts", columns={"seats": column("integer")})
    return registry(tmp_path, model(), facts, exposures=(exposure("legs.*"),))


def test_unknown_names_are_answered_with_the_nearest_one(shop):
    for ask, said in (
        (lambda: shop.view("leg"), "there is no feature view 'leg' (did you mean 'legs'?)"),
        (lambda: shop.entity("plan"), "there is no entity 'plan' (did you mean 'plane'?)"),
        (lambda: shop.service("lat"), "there is no feature service 'lat' (did you mean 'late'?)"),
        (lambda: shop.feature("legs.arr_dely"), "there is no feature 'legs.arr_dely' (did you mean 'legs.arr_delay'?)"),
        (lambda: shop.feature("leg.arr_delay"), "there is no feature view 'leg' (did you mean 'legs'?)"),
    ):
        with pytest.raises(UnknownNameError) as error:
            ask()
        assert str(error.value) == said


def test_a_feature_is_found_by_its_full_name(shop):
    view, feature = shop.feature("facts.seats")
    assert (view.name, feature.name) == ("facts", "seats")


def test_a_version_is_found_by_its_number_and_the_bare_name_is_the_latest(tmp_path):
    found = registry(tmp_path, version(1, latest=2), version(2, latest=2))
    assert found.view("legs").id == "legs.v2"
    assert found.feature("legs.v1.arr_delay")[0].id == "legs.v1"
    with pytest.raises(UnknownNameError, match=r"did you mean 'legs.v2'"):
        found.view("legs.v3")


def test_an_adhoc_service_is_like_a_declared_one(shop):
    found = shop.adhoc_service(["facts.seats", "legs.*"], label_timestamp="at")
    assert found.columns == ("facts__seats", "legs__arr_delay")
    assert (found.name, found.label_timestamp) == ("", "at")
    assert [key.name for key in found.request_keys] == ["tailnum"]


def test_an_adhoc_service_reports_every_bad_name(shop):
    with pytest.raises(PlanError) as error:
        shop.adhoc_service(["leg.x", "legs", "facts.seat"])
    assert [problem.what for problem in error.value.problems] == [
        "'legs' does not name a feature",
        "there is no feature view 'leg' (did you mean 'legs'?)",
        "feature view 'facts' has no feature 'seat' (did you mean 'seats'?)",
    ]
    with pytest.raises(PlanError, match="no features given"):
        shop.adhoc_service([])


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a.b", ("a", "b")),
        ("a.v2.b", ("a.v2", "b")),
        ("a.*", ("a", "*")),
        (" a.b ", ("a", "b")),
        ("a", None),
        ("a.", None),
        (".b", None),
        ("", None),
    ],
)
def test_a_reference_is_a_view_and_a_feature(text, parts):
    assert split_reference(text) == parts


def test_json_reads_back_every_kind_of_value():
    defaults = [
        None, True, 2**70, float("inf"), "x", Decimal("1.20"), date(2026, 1, 31), b"\x00",
        datetime(2026, 1, 31, tzinfo=UTC),
        [1, [2.5]], {"a": 1}, datetime(2026, 1, 31),
    ]  # fmt: skip
    features = tuple(
        Feature(
            name=f"f{index}",
            dtype=DType.parse("array<decimal(18,4)>"),
            default=value,
            has_default=True,
            range=(0.5, None),
        )
        for index, value in enumerate(defaults)
    )
    view = FeatureView(
        name="v",
        unique_id="model.p.v.v1",
        relation_name='"d"."s"."ä ""v"""',
        entities=("e",),
        join_keys=(JoinKey(column="k", entity="e", key="k", dtype=DType.parse("int64")),),
        features=features,
        columns=(("k", DType.parse("int64")), ("s", DType.parse('struct<"a b":array<text>>'))),
        version="1",
        delay=timedelta(microseconds=1),
        ttl=timedelta(days=3650),
        tie_breaker=("a", "b"),
        freshness=Freshness(warn_after=timedelta(hours=1)),
        monitors=MappingProxyType({"null_rate": {"max": 0.1}, "x": Decimal("1.5")}),
        ignore=(Ignore(code="FL203", reason="r"),),
        deprecated=Deprecation(replaced_by="w"),
        owner=Owner(name="n"),
    )
    service = FeatureService(
        name="s",
        views=(ServiceView(view="v", prefix="r", features=("f0",), keys=(("k", "l"),), role="r"),),
        request_keys=(Key(name="l", dtype=DType.parse("int64")),),
        aliases=MappingProxyType({"e": "l"}),
    )
    entity = Entity(name="e", keys=(Key(name="k", dtype=DType.parse("int64")),))
    found = Registry(
        project="p",
        adapter="duckdb",
        dbt_version="1.11",
        invocation_id="i",
        generated_at="g",
        manifest_hash="h",
        entities={"e": entity},
        views={"v.v1": view},
        services={"s": service},
    )
    again = Registry.from_json(found.to_json())
    assert again == found
    assert [type(feature.default) for feature in again.view("v.v1").features] == [type(value) for value in defaults]
    assert again.to_json() == found.to_json()


@settings(max_examples=examples(100), deadline=None)
@given(
    st.text(),
    st.timedeltas(min_value=timedelta()),
    st.decimals(allow_nan=False),
    st.floats(allow_nan=False),
    st.binary(),
)
def test_json_reads_back_any_text_and_number(text, duration, decimal, number, data):
    features = tuple(
        Feature(name=name, dtype=DType.parse("text"), default=value, has_default=True)
        for name, value in (("a", text), ("b", decimal), ("c", number), ("d", data))
    )
    view = FeatureView(
        name=text,
        unique_id="u",
        relation_name=text,
        entities=(),
        join_keys=(),
        features=features,
        columns=(),
        ttl=duration,
    )
    found = Registry(
        project="p", adapter="", dbt_version="", invocation_id="", generated_at="", manifest_hash="",
        entities={}, views={text: view}, services={},
    )  # fmt: skip
    assert Registry.from_json(found.to_json()) == found


def test_the_demo_like_fixture_reads_back(tmp_path):
    fixtures = Path(__file__).parents[1] / "fixtures" / "manifests"
    (tmp_path / "target").mkdir()
    for file in ("dbt_project.yml", "featurelayer.yml"):
        (tmp_path / file).write_text((fixtures / "project" / file).read_text())
    (tmp_path / "target" / "manifest.json").write_bytes((fixtures / "dbt_1_12.json").read_bytes())
    found = load_registry(load_project(tmp_path))
    assert Registry.from_json(found.to_json()) == found


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"{}", b'{"format": 99}', b'{"format": 1}', b'{"format": 1, "views": 3}']
)
def test_what_is_no_registry_is_refused(data):
    with pytest.raises(ArtifactError, match="not a registry"):
        Registry.from_json(data)
