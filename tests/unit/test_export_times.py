"""A time that no reader could hold ends an export with view, column and key, however its rows are encoded."""

import pytest

from featurelayer.errors import CodecError, FeatureLayerError, WarehouseError
from featurelayer.layer import FeatureLayer
from featurelayer.online import MemoryStore
from featurelayer.sql import item_encoding
from tests.unit import dbt_projects as made
from tests.unit.warehouses import layer

pytestmark = pytest.mark.slow

TYPES = {"seen": "timestamp", "sent": "timestamptz", "day": "date"}


def project(root, *, declared: str = "double", **times: str) -> FeatureLayer:
    columns = {name: made.column(kind) for name, kind in TYPES.items()}
    legs = made.model(online=True, columns=columns | {"arr_delay": made.column(declared)})
    chosen = {"landed_at": "2024-01-01 10:00", "seen": "2020-01-01", "sent": "2020-01-01", "day": "2020-01-01"} | times
    kinds = {"landed_at": "timestamp", **TYPES}
    listed = ", ".join(f"CAST('{text}' AS {kinds[name]}) AS {name}" for name, text in chosen.items())
    good = ", ".join(f"CAST('2024-01-01' AS {kinds[name]})" for name in chosen)
    first = f"SELECT 'N1' AS tailnum, {listed}, 1.5::DOUBLE AS arr_delay"
    sql = f"CREATE TABLE legs AS {first} UNION ALL SELECT 'N2', {good}, 2.5"
    return layer(root, legs, sql=sql)


@pytest.mark.parametrize("python", [False, True])
@pytest.mark.parametrize("text", ["0044-03-15 (BC)", "10000-01-01", "0001-01-01 (BC)"])
@pytest.mark.parametrize("column", ["seen", "sent", "day", "landed_at"])
def test_view_column_and_key_are_named(tmp_path, column, text, python, monkeypatch):
    if column == "landed_at" and text.startswith("10000"):
        pytest.skip("what has not happened yet is not exported")
    if python:
        monkeypatch.setattr("featurelayer.export.snapshot.encode_snapshot", lambda *_: None)
    found = project(tmp_path, **{column: text})
    store = MemoryStore()
    with pytest.raises(FeatureLayerError) as raised:
        found.export(store=store)
    assert isinstance(raised.value, CodecError if python else WarehouseError), raised.value
    message = str(raised.value)
    assert f"legs.{column}" in message
    assert 'plane["N1"]' in message
    if not (python and column == "day"):  # which Arrow refuses in its own words
        assert "before year 1 or after 9999" in message
    assert not [key for key in store._items if key[1] == "legs@0"]


def test_the_first_and_the_last_moment_are_stored(tmp_path):
    found = project(tmp_path, landed_at="0001-01-01", seen="9999-12-31 23:59:59.999999", day="9999-12-31")
    store = MemoryStore()
    found.export(store=store)
    item = store._items['plane["N1"]', "legs@0"]
    assert item.event_time == -62_135_596_800_000_000
    assert "253402300799999999" in item.f


def test_the_bounds_are_the_codecs():
    from featurelayer.online import codec

    assert (item_encoding.FIRST, item_encoding.LAST) == (codec.FIRST, codec.LAST)
