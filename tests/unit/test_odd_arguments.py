"""Whatever is passed as a request, a key, a row or a name: the obvious meaning, or a typed error. Nothing else."""

import json
import math
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from featurelayer.errors import CodecError, ConfigError, FeatureLayerError, LockError, PlanError
from featurelayer.online import FeatureClient, Item, Status
from featurelayer.training.lock import read_lock
from tests.corruption import NOW, SERVICE, V, opened
from tests.online_cases import feature, service_of, view
from tests.surfaces import SURFACES


def name_value(value: object) -> str:
    """Name a value alike in every process: xdist compares the names of tests."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


NUMBERED = view("flights", feature("legs", "int64"), keys={"number": "int64"}, static=True, online=True,
                entities=("flight",))  # fmt: skip


@pytest.fixture(autouse=True, params=SURFACES)
def surface(request, monkeypatch):
    monkeypatch.setattr(request.module, "FeatureClient", SURFACES[request.param])


@pytest.fixture
def store():
    from featurelayer.online import service_definition
    from featurelayer.online.definitions import view_definition, view_schema

    filled = opened("memory", str, None)
    schema = view_schema(NUMBERED)
    service = service_of(NUMBERED, name="numbered")
    filled.write([
        *service_definition(service, {"flights": NUMBERED}).items(1), schema.item(), view_definition(NUMBERED).item(1),
        Item(pk="flight[7]", sk="flights@0", version=V, as_of=V, schema=schema.fingerprint, f="[70]"),
    ])  # fmt: skip
    return filled


NAMES = ["N1", "N9", None]
FRAMES = {
    "list": [{"tailnum": name} for name in NAMES],
    "tuple": tuple({"tailnum": name} for name in NAMES),
    "pandas": pd.DataFrame({"tailnum": NAMES}),
    "pandas, categories": pd.DataFrame({"tailnum": pd.Categorical(NAMES)}),
    "polars": pl.DataFrame({"tailnum": NAMES}),
    "arrow": pa.table({"tailnum": NAMES}),
    "batch": pa.RecordBatch.from_pydict({"tailnum": NAMES}),
    "rows of pandas": [row for _, row in pd.DataFrame({"tailnum": NAMES}).iterrows()],
}


@pytest.mark.parametrize("name", [*FRAMES, "generator", "dict view"])
def test_rows_in_any_form(store, name):
    rows = FRAMES.get(name, FRAMES["list"])
    if name == "generator":
        rows = (row for row in rows)
    elif name == "dict view":
        rows = dict(enumerate(rows)).values()
    vectors = FeatureClient(store).lookup_many(SERVICE.name, rows, now=NOW)
    assert [vector["legs__legs"] for vector in vectors] == [2, None, None]
    assert [vector.features["legs__legs"].status for vector in vectors] == [
        Status.PRESENT, Status.MISSING, Status.MISSING,
    ]  # fmt: skip


@pytest.mark.parametrize("rows", [[], (), pd.DataFrame({"tailnum": []}), pl.DataFrame(), iter(())], ids=name_value)
def test_no_rows_are_no_vectors(store, rows):
    assert FeatureClient(store).lookup_many(SERVICE.name, rows) == []


WHOLE = [7, np.int64(7), np.uint8(7), Decimal(7), 7.0, np.float64(7.0), np.float32(7.0)]
ABSENT = [None, math.nan, np.nan, np.float32("nan"), pd.NA, pd.NaT, np.datetime64("NaT"), Decimal("NaN"), 8, 10**30, -1]


@pytest.mark.parametrize("key", [*WHOLE, *ABSENT], ids=name_value)
def test_numbers_as_keys_of_integers(store, key):
    one = FeatureClient(store).lookup("numbered", {"number": key}).features["flights__legs"]
    found = any(key is each for each in WHOLE)
    assert (one.value, one.status) == ((70, Status.PRESENT) if found else (None, Status.MISSING))


@pytest.mark.parametrize(
    "key", ["7", 7.5, math.inf, True, np.bool_(True), b"7", [7], {}, object(), Decimal("7.5"), Decimal("sNaN"), 2.0**60,
            np.array([7]), datetime(2020, 1, 1), np.datetime64("2020-01-01"), "\ud800", 7j, pd.Timestamp(0)],
    ids=name_value,
)  # fmt: skip
def test_what_is_no_key_of_integers_is_a_typed_error(store, key):
    with pytest.raises(CodecError, match="key 'number'"):
        FeatureClient(store).lookup("numbered", {"number": key})


@pytest.mark.parametrize("key", [7, 7.5, True, b"N1", ["N1"], object(), np.int64(1), "\ud800"], ids=name_value)
def test_what_is_no_key_of_text_is_a_typed_error(store, key):
    with pytest.raises(CodecError, match="key 'tailnum'"):
        FeatureClient(store).lookup(SERVICE.name, {"tailnum": key})
    assert FeatureClient(store).lookup(SERVICE.name, {"tailnum": np.str_("N1")}, now=NOW)["legs__legs"] == 2


def test_pandas_integers_with_gaps_are_integers(store):
    frame = pd.DataFrame({"number": [7, None, 8]})
    assert frame["number"].dtype == "float64"
    vectors = FeatureClient(store).lookup_many("numbered", frame)
    assert [vector["flights__legs"] for vector in vectors] == [70, None, None]
    vectors = FeatureClient(store).lookup_many("numbered", frame.astype("Int64"))
    assert [vector["flights__legs"] for vector in vectors] == [70, None, None]


ODD = [7, None, "N1", b"N1", 1.5, True, object(), [1], [None], ["N1"], [["tailnum", "N1"]], {"tailnum": "N1"}.items(),
       pl.LazyFrame({"tailnum": ["N1"]}), pd.Series(["N1"]), np.array(["N1"]), ..., type]  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=name_value)
def test_what_are_no_rows_is_a_typed_error(store, odd):
    client = FeatureClient(store)
    with pytest.raises(PlanError, match=r"not rows|not a mapping"):
        client.lookup_many(SERVICE.name, odd)
    with pytest.raises(PlanError, match=r"not rows|not a mapping"):
        client.write("legs", odd)
    with pytest.raises(PlanError):
        client.lookup(SERVICE.name, odd)
    if odd is not None:
        with pytest.raises(PlanError, match="not rows"):
            client.lookup_many(SERVICE.name, {"tailnum": "N1"})


@pytest.mark.parametrize(
    "name", [7, None, b"late_arrival", 1.5, ["late_arrival"], object(), SERVICE, "\ud800"], ids=name_value
)
def test_a_name_that_is_not_text(store, name):
    client = FeatureClient(store)
    for call in (
        lambda: client.lookup(name, {"tailnum": "N1"}), lambda: client.lookup_many(name, []),
        lambda: client.service(name), lambda: client.write(name, []),
    ):  # fmt: skip
        with pytest.raises(PlanError, match="not text"):
            call()


@pytest.mark.parametrize("name", ["", "@", "x@", "@y", "#schema", "\x00", "a" * 5_000, "名前"])
def test_a_name_of_nothing(store, name):
    with pytest.raises(FeatureLayerError):
        FeatureClient(store).lookup(name, {"tailnum": "N1"})


@pytest.mark.parametrize("now", ["2020-01-01", 7, pd.NaT, NOW.date(), object()], ids=name_value)
def test_a_now_that_is_no_time(store, now):
    with pytest.raises(PlanError, match="not a datetime"):
        FeatureClient(store).lookup(SERVICE.name, {"tailnum": "N1"}, now=now)


@pytest.mark.parametrize("name", [7, None, ("tailnum",), b"tailnum", math.nan], ids=name_value)
def test_a_request_key_that_is_not_text(store, name):
    with pytest.raises(PlanError, match="unknown request key"):
        FeatureClient(store).lookup(SERVICE.name, {name: "N1"})
    with pytest.raises(PlanError, match="unknown column"):
        FeatureClient(store).write("flights", [{"number": 1, "legs": 2, name: 3}])


def test_rows_to_write_in_any_form(store):
    client = FeatureClient(store)
    frame = pd.DataFrame({"number": [101, 102], "legs": pd.array([1, None], dtype="Int64")})
    scalars = ({"number": np.int64(n), "legs": np.int32(1)} for n in (101, 102))
    polars = pl.DataFrame({"number": [101, 102], "legs": [1, None]})
    for rows in (frame, polars, pa.table({"number": [101], "legs": [1]}), scalars):
        assert client.write("flights", rows).written + client.write("flights", []).written >= 0
    found = client.lookup_many("numbered", [{"number": 101}, {"number": 102}])
    assert [vector["flights__legs"] for vector in found] == [1, 1]


@pytest.mark.parametrize(
    ("row", "error", "message"),
    [
        ({"number": 1, "legs": math.nan}, CodecError, "flights, row 0.legs: nan"),
        ({"number": 1, "legs": 2.0}, CodecError, "flights, row 0.legs: 2.0"),
        ({"number": math.nan, "legs": 2}, PlanError, "the key 'number' is None"),
        ({"number": pd.NA, "legs": 2}, PlanError, "the key 'number' is None"),
        ({"number": 2**63, "legs": 2}, CodecError, "flights, row 0.number"),
        ({"number": "1", "legs": 2}, CodecError, "flights, row 0.number"),
        ({"number": 1, "legs": np.array([1])}, CodecError, "flights, row 0.legs"),
    ],
)
def test_rows_that_do_not_fit(store, row, error, message):
    with pytest.raises(error, match=message):
        FeatureClient(store).write("flights", [row])


def test_missing_features_of_pandas_are_null(store):
    client = FeatureClient(store)
    assert client.write("flights", [{"number": 5, "legs": pd.NA}, {"number": 6, "legs": np.int64(3)}]).written == 2
    found = client.lookup_many("numbered", [{"number": 5}, {"number": 6}])
    assert [vector["flights__legs"] for vector in found] == [None, 3]


@pytest.mark.parametrize("content", ["[" * 100_000, '{"service":' * 50_000, "\x00", "", '"' + "x" * 100])
def test_a_lock_file_that_is_nested_too_deeply_or_none(tmp_path, content):
    path = tmp_path / "training.lock.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match="lock file"):
        FeatureClient.connect("memory://odd", lock=path)
    with pytest.raises(LockError):
        read_lock(path)
    path.write_text(json.dumps({"service": {"name": "x", "fingerprint": 5}}))
    with pytest.raises(ConfigError, match="names no service"):
        FeatureClient.connect("memory://odd", lock=path)


@pytest.mark.parametrize(
    "given",
    [{"refresh": "10"}, {"refresh": 10}, {"refresh": None}, {"refresh": timedelta(-1)}, {"cache": 30},
     {"cache": timedelta(-1)}, {"cache": pd.NaT}, {"lock": 7}, {"lock": ["a.lock.json"]}],
    ids=name_value,
)  # fmt: skip
def test_arguments_of_a_client_that_are_none(given):
    (name,) = given
    with pytest.raises((PlanError, ConfigError), match=f"`{name}` is"):
        FeatureClient.connect("memory://odd", **given)


@pytest.mark.parametrize("address", [7, None, b"memory://odd", ["memory://odd"]])
def test_addresses_that_are_no_text(address):
    with pytest.raises(ConfigError, match="not text"):
        FeatureClient.connect(address)


@pytest.mark.parametrize("services", [7, SERVICE.name, b"x", [7], [None]], ids=name_value)
def test_services_to_be_warmed_up_are_names(store, services):
    with pytest.raises(PlanError, match=r"not a list|not text"):
        FeatureClient(store).warm_up(services)


def test_times_as_keys_of_numpy_and_pandas():
    from featurelayer.online.arguments import plain_keys

    moment = datetime(2020, 1, 2, 3, 4, 5, 6)
    given = [moment, np.datetime64(moment), np.datetime64(moment, "ns"), pd.Timestamp(moment), pd.NaT]
    assert plain_keys(given, whole=False) == [moment, moment, moment, moment, None]
    (kept,) = plain_keys([np.datetime64(1, "ns")], whole=False)
    assert kept == np.datetime64(1, "ns")  # which is refused, since microseconds are all there is
    assert plain_keys([datetime(2020, 1, 1, tzinfo=UTC)], whole=True) == [datetime(2020, 1, 1, tzinfo=UTC)]
