"""The domain: types that read back, keys that may meet, names of columns."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurelayer.model import DType, FeatureService, FeatureView, Kind, ServiceView
from tests.profiles import examples

PLAIN = [Kind.BOOL, Kind.TEXT, Kind.BYTES, Kind.DATE, Kind.TIME, Kind.TIMESTAMP, Kind.TIMESTAMPTZ, Kind.UUID, Kind.JSON,
         Kind.INTERVAL, Kind.UNKNOWN]  # fmt: skip

scalars = st.one_of(
    st.sampled_from(PLAIN).map(lambda kind: DType(kind=kind)),
    st.builds(
        lambda kind, bits: DType(kind=kind, bits=bits),
        st.sampled_from([Kind.INT, Kind.UINT]),
        st.sampled_from([8, 16, 32, 64, 128]),
    ),
    st.builds(lambda bits: DType(kind=Kind.FLOAT, bits=bits), st.sampled_from([32, 64])),
    st.builds(lambda p, s: DType(kind=Kind.DECIMAL, precision=p, scale=s), st.integers(1, 76), st.integers(0, 38)),
)
dtypes = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.builds(lambda element: DType(kind=Kind.ARRAY, element=element), inner),
        st.builds(
            lambda fields: DType(kind=Kind.STRUCT, fields=tuple(fields)),
            st.lists(st.tuples(st.text(min_size=1), inner), max_size=3),
        ),
        st.builds(lambda key, value: DType(kind=Kind.MAP, fields=(("key", key), ("value", value))), inner, inner),
    ),
    max_leaves=6,
)


@settings(max_examples=examples(200), deadline=None)
@given(dtypes)
def test_the_text_of_a_type_reads_back(dtype):
    assert DType.parse(str(dtype)) == dtype


@pytest.mark.parametrize("text", ["", "integer", "int", "decimal(18)", "array<>", "array<nope>", "struct<a>", "int64 "])
def test_what_is_no_type_is_refused(text):
    with pytest.raises(ValueError, match="featurelayer type"):
        DType.parse(text)


@settings(max_examples=examples(100), deadline=None)
@given(scalars, scalars)
def test_whether_keys_may_meet_does_not_depend_on_the_side(left, right):
    assert left.joins(right) == right.joins(left)
    assert left.joins(left)


@pytest.mark.parametrize(
    ("left", "right", "meet"),
    [
        ("int32", "int64", True),
        ("int64", "uint8", True),
        ("int64", "decimal(38,0)", True),
        ("int64", "decimal(38,2)", False),
        ("text", "int64", False),
        ("text", "uuid", False),
        ("timestamp", "timestamptz", True),
        ("timestamp", "date", False),
        ("bool", "int8", False),
    ],
)
def test_which_keys_may_meet(left, right, meet):
    assert DType.parse(left).joins(DType.parse(right)) is meet


@pytest.mark.parametrize("text", ["float64", "array<int64>", "struct<a:text>", "json", "unknown", "time", "bytes"])
def test_what_identifies_nothing(text):
    assert not DType.parse(text).is_key


@pytest.mark.parametrize(
    ("text", "storable"),
    [
        ("array<float32>", True),
        ("array<array<text>>", True),
        ("array<struct<a:text>>", False),
        ("time", False),
        ("json", True),
    ],
)
def test_what_the_online_store_can_hold(text, storable):
    assert DType.parse(text).is_storable is storable


def test_a_versions_columns_are_named_after_it():
    view = FeatureView(
        name="orders", unique_id="u", relation_name="r", entities=(), join_keys=(), features=(), columns=(), version="2"
    )
    assert (view.id, view.prefix) == ("orders.v2", "orders_v2")
    assert view.feature("x") is None
    assert view.dtype("x") is None


def test_a_services_columns_are_in_its_order():
    joins = (
        ServiceView(view="b", prefix="home", role="home", features=("y", "x"), keys=()),
        ServiceView(view="a", prefix="a", features=("z",), keys=()),
    )
    assert FeatureService(name="s", views=joins, request_keys=()).columns == ("home__y", "home__x", "a__z")
