"""The whole path on real flights: dbt build, training set, export, lookup, and that both ends agree."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurelayer import FeatureLayer
from featurelayer.cli import main
from featurelayer.errors import StoreNotFound
from featurelayer.online import FeatureClient, MemoryStore, Status
from featurelayer.testing.builders import plain

pytestmark = pytest.mark.slow

MOMENTS = [datetime(2013, 3, 10, 7, 0), datetime(2013, 7, 4, 18, 30), datetime(2013, 12, 31, 12)]
KEYS = ("tailnum", "carrier", "origin", "hour")


@pytest.fixture(scope="module")
def layer(demo_project: Path) -> FeatureLayer:
    return FeatureLayer(demo_project, profiles_dir=demo_project)


def requests(layer: FeatureLayer, around: datetime, count: int) -> list[dict[str, Any]]:
    """Request keys of flights near a time, some with parts that are unknown or NULL."""
    with duckdb.connect(str(layer.project.root / "featurelayer_demo.duckdb"), read_only=True) as connection:
        rows = connection.execute(
            "SELECT tailnum, carrier, origin, hour, dest FROM late_arrival_labels "
            "ORDER BY abs(epoch_us(predicted_at) - epoch_us(?::TIMESTAMP)), flight_id LIMIT ?",
            [around, count],
        ).fetchall()
    found = [dict(zip((*KEYS, "dest"), row, strict=True)) for row in rows]
    return [*found, {**found[0], "tailnum": None}, {**found[0], "tailnum": "N0NE", "origin": "ZZZ"}]


@pytest.mark.parametrize("at", MOMENTS)
@pytest.mark.parametrize("service", ["late_arrival", "flight_weather"])
def test_what_is_looked_up_at_a_time_is_what_training_sees_then(
    layer: FeatureLayer, service: str, at: datetime
) -> None:
    names = [key.name for key in layer.registry.service(service).request_keys]
    asked = [{name: request[name] for name in names} for request in requests(layer, at, 300)]
    labels = pa.Table.from_pylist([{**request, "predicted_at": at} for request in asked])
    with layer.build_training_set(service, labels) as training_set:
        trained = training_set.to_arrow().select(list(layer.registry.service(service).columns)).to_pylist()
    store = MemoryStore()
    layer.export(as_of=at, store=store)
    with FeatureClient(store) as client:
        served = client.lookup_many(service, asked, now=at)
    assert [plain(vector.to_dict()) for vector in served] == [plain(row) for row in trained]
    statuses = {feature.status for vector in served for feature in vector.features.values()}
    # The weather feed stops 29 hours before the year does: by then it has expired.
    assert statuses >= {Status.MISSING, Status.EXPIRED if at == MOMENTS[2] else Status.PRESENT}


def test_the_training_set_is_exactly_the_labels(layer: FeatureLayer, tmp_path: Path) -> None:
    with layer.build_training_set("late_arrival", "late_arrival_labels") as training_set:
        found = pq.read_table(training_set.to_parquet(tmp_path / "train.parquet"))
    with duckdb.connect(str(layer.project.root / "featurelayer_demo.duckdb"), read_only=True) as connection:
        labels = connection.sql("SELECT * FROM late_arrival_labels").to_arrow_table()
    assert found.num_rows == labels.num_rows == 327_346
    assert found.select(labels.column_names).to_pylist() == labels.to_pylist()
    lock = json.loads((tmp_path / "train.lock.json").read_text())
    assert lock["service"]["features"] == list(layer.registry.service("late_arrival").columns)
    matched = {view["name"]: view["matched"] / lock["labels"]["rows"] for view in lock["report"]["views"]}
    assert matched["airport_weather"] > 0.99
    assert matched["plane_facts"] > 0.8
    with layer.build_training_set("late_arrival", "late_arrival_labels") as again:
        assert again.lock["columns"] == lock["columns"]


def test_a_training_set_is_made_again(demo_project: Path, tmp_path: Path) -> None:
    """From its lock alone; and what a view without its delay would have given is found and counted."""
    layer = FeatureLayer(demo_project, profiles_dir=demo_project)
    with layer.build_training_set("late_arrival", "late_arrival_labels") as training_set:
        training_set.to_parquet(tmp_path / "train.parquet")
        lock = training_set.lock
    found = layer.reproduce(tmp_path / "train.lock.json")
    assert found.identical
    assert (found.rows, found.columns) == (327_346, len(lock["columns"]))
    assert all(view["sql_checksum"] for view in lock["views"].values())
    assert lock["views"]["plane_legs"]["upstream_checksums"]
    leaky = dataclasses.replace(layer.registry.view("plane_legs"), delay=None)
    views = {**layer.registry.views, "plane_legs": leaky}
    changed = FeatureLayer.from_project(layer.project)
    changed._workspace._registry = lambda: dataclasses.replace(layer.registry, views=views)
    found = changed.reproduce(tmp_path / "train.lock.json")
    assert {column.join for column in found.differences} == {"plane_legs"}
    assert all(column.rows for column in found.differences)
    assert {str(reason.cause) for join in found.joins for reason in join.reasons} == {"definition changed"}


def test_no_training_row_holds_an_event_after_its_time(layer: FeatureLayer) -> None:
    """The newest leg of a plane departed before the label's time, and landed at least a minute before it."""
    with layer.build_training_set("late_arrival", "late_arrival_labels") as training_set:
        ages = {view.name: view.age for view in training_set.report.views if view.age is not None}
        table = training_set.to_arrow()
    assert ages["plane_legs"]["min"] >= timedelta(minutes=1)
    assert ages["plane_legs"]["max"] <= timedelta(hours=24)
    assert ages["airport_weather"]["min"] >= timedelta(hours=1)
    connection = duckdb.connect()
    connection.register("trained", table)
    assert connection.execute(
        "SELECT count(*) FROM trained WHERE plane_legs__departed_at >= predicted_at"
    ).fetchone() == (0,)


def test_export_again_changes_nothing_and_later_changes_little(layer: FeatureLayer) -> None:
    store = MemoryStore()
    first = layer.export(as_of=MOMENTS[1], store=store)
    again = layer.export(as_of=MOMENTS[1], store=store)
    later = layer.export(as_of=MOMENTS[1] + timedelta(hours=1), store=store)
    for one, two, three in zip(first.views, again.views, later.views, strict=True):
        assert one.rows == one.written > 0
        assert two.written == two.tombstones == 0
        assert two.unchanged == two.rows == one.rows
        assert three.written + three.unchanged == three.rows >= one.rows
    legs = next(view for view in later.views if view.view == "plane_legs")
    assert 0 < legs.written < 0.05 * legs.rows


@pytest.fixture
def moto_url() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def test_the_commands_on_dynamodb(
    demo_project: Path, moto_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from featurelayer.online import open_store

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    config = demo_project / "featurelayer.yml"
    original = config.read_text()
    config.write_text(
        original.replace(
            'dev: {type: sqlite, path: ".featurelayer/online.db"}',
            'dev: {type: dynamodb, table: "features-{{ target.name }}", region: eu-west-1, '
            f'endpoint_url: "{moto_url}", timeout: 20}}',
        )
    )
    here = ["--project-dir", str(demo_project), "--profiles-dir", str(demo_project)]
    try:
        layer = FeatureLayer(demo_project, profiles_dir=demo_project)
        with pytest.raises(StoreNotFound, match="features-dev"):
            layer.export(["airport_weather"], as_of=MOMENTS[2])
        store = open_store(layer.online.url)
        store.create()
        store.close()
        views = ["airport_weather", "carrier_punctuality_7d"]
        assert (
            main(
                ["export", *here, *(part for view in views for part in ("-s", view)), "--as-of", "2013-12-30T12:00:00"]
            )
            == 0
        )
        assert "carrier_punctuality_7d" in capsys.readouterr().out
        keys = ["--key", "tailnum=N14228", "--key", "carrier=UA", "--key", "origin=EWR", "--key", "hour=7"]
        assert (
            main(
                [
                    "lookup",
                    *here,
                    "--service",
                    "late_arrival",
                    *keys,
                    "--now",
                    "2013-12-30T12:00:00",
                    "--format",
                    "json",
                ]
            )
            == 0
        )
        found = json.loads(capsys.readouterr().out)
        assert found["carrier_punctuality_7d__flights"]["status"] == "present"
        assert found["plane_legs__arr_delay"]["status"] == "missing"
        weather = datetime.fromisoformat(found["airport_weather__temperature"]["event_time"])
        assert timedelta(hours=1) <= datetime(2013, 12, 30, 12, tzinfo=UTC) - weather <= timedelta(hours=2)
    finally:
        config.write_text(original)
