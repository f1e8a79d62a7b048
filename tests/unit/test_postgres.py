"""Everything that a project on PostgreSQL can do, from labels to a subject erased: as on DuckDB, where they meet."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurelayer.cli import main
from featurelayer.errors import FeatureLayerError, LabelError, PlanError, WarehouseError
from featurelayer.layer import FeatureLayer
from featurelayer.online import FeatureClient, MemoryStore
from featurelayer.warehouse.engines.postgres.warehouse import PostgresWarehouse
from tests.postgres_projects import layer, session
from tests.servers.postgres import Server
from tests.unit import dbt_projects as made
from tests.unit import warehouses

pytestmark = pytest.mark.slow

LABELS = pa.table({
    "tailnum": ["N1", "N2", "'; DROP TABLE legs; --", None, "N1", "?"],
    "at": [datetime(2024, 1, 1, hour) for hour in (11, 12, 10, 12, 13, 12)],
    "note": ["a", None, "", "d", 'e"', "f,g"],
})  # fmt: skip
NOON = datetime(2024, 1, 1, 13, tzinfo=UTC)


@pytest.fixture
def project(tmp_path: Path, postgres_server: Server) -> FeatureLayer:
    return layer(tmp_path, postgres_server, online(tmp_path))


def online(root: Path, **more: object) -> dict:
    return made.model(node={"relation_name": f'"postgres"."{root.name}"."legs"'}, online=True, **more)


@pytest.fixture
def warehouse(tmp_path: Path, postgres_server: Server) -> PostgresWarehouse:
    return session(postgres_server, tmp_path.name)


def call(project: FeatureLayer, command: str, *arguments: str) -> int:
    folders = ["--project-dir", str(project.project.root), "--profiles-dir", str(project.project.root)]
    return main([command, *arguments, *folders])


# --- training sets ---------------------------------------------------------------------------------------------------


def test_a_training_set_is_duckdbs_in_every_form_and_from_every_source(project, tmp_path, warehouse):
    (tmp_path / "duck").mkdir()
    with warehouses.layer(tmp_path / "duck").build_training_set("late", LABELS) as duck:
        expected, report = duck.to_arrow(), duck.report
    pq.write_table(LABELS, tmp_path / "labels.parquet")
    for labels in (LABELS, tmp_path / "labels.parquet", LABELS.to_pandas()):
        with project.build_training_set("late", labels) as built:
            assert built.to_arrow().equals(expected)
            assert built.report.views == report.views
            assert built.report.features == report.features
            built.to_parquet(tmp_path / "out.parquet")
            assert pq.read_table(tmp_path / "out.parquet").equals(expected)
            assert built.lock["engine"].startswith("postgres ")
            assert built.to_table("train") == 6
    assert warehouse.rows("SELECT note, legs__arr_delay FROM train") == list(
        zip(expected["note"].to_pylist(), expected["legs__arr_delay"].to_pylist(), strict=True)
    )


def test_label_columns_have_the_types_in_which_they_were_given(project, tmp_path):
    labels = LABELS.to_pandas().assign(
        zone=pd.to_datetime(["2024-01-01"] * 6).tz_localize("Asia/Tokyo"),
        kind=pd.Categorical(list("abcabc"), categories=["c", "b", "a"], ordered=True),
        half=np.array([1, 2, 3, 4, 5, 6.5], "float16"),
        whole=pd.array([2**53 + 1, None, 3, 4, 5, 6], dtype="Int64"),
        unsigned=np.array([2**64 - 1] * 6, "uint64"),
    )
    with project.build_training_set("late", labels) as built:
        pd.testing.assert_frame_equal(built.to_pandas()[list(labels)], labels)
        built.to_parquet(tmp_path / "out.parquet")
    labels.to_parquet(tmp_path / "in.parquet")
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "out.parquet")[list(labels)], pd.read_parquet(tmp_path / "in.parquet")
    )


def test_a_set_can_be_made_again_and_its_differences_are_explained(project, tmp_path, warehouse):
    for name in ("out.parquet", "out.csv"):
        with project.build_training_set("late", LABELS) as built:
            getattr(built, f"to_{name.rsplit('.', maxsplit=1)[-1]}")(tmp_path / name)
    locks = [tmp_path / "out.lock.json"]
    assert project.reproduce(locks[0], LABELS).identical
    warehouse.execute("INSERT INTO legs VALUES ('N1', '2024-01-01 10:30', 99)")
    found = project.reproduce(locks[0], LABELS)
    assert not found.identical
    assert "legs__arr_delay" in str(found.to_dict())


def test_a_csv_is_cast_and_what_cannot_be_is_named_by_row(project, tmp_path):
    (tmp_path / "labels.csv").write_text("tailnum,at,n\nN1,2024-01-01 11:00,007\nN2,2024-01-01T12:00:00Z,\n")
    with project.build_training_set("late", tmp_path / "labels.csv") as built:
        assert built.to_arrow().drop_columns("at").to_pydict() == {
            "tailnum": ["N1", "N2"], "n": ["007", None], "legs__arr_delay": [5.0, -3.5]
        }  # fmt: skip
    (tmp_path / "bad.csv").write_text("tailnum,at\nN1,noon\nN2,2024-02-30\nN3,2024-01-01 10:00:00.0000001\n")
    with pytest.raises(LabelError) as caught:
        project.build_training_set("late", tmp_path / "bad.csv")
    said = str(caught.value)
    assert "label column 'at' must be a timestamp; it holds 'noon' in row 0, '2024-02-30' in row 1" in said
    assert "label column 'at' has values finer than a microsecond: '2024-01-01 10:00:00.0000001' in row 2" in said


def test_labels_can_be_a_relation_and_a_row_be_explained(project, tmp_path, warehouse, capsys):
    source = warehouse.attach(LABELS)
    warehouse.execute(f'CREATE TABLE "My Labels" AS SELECT * FROM {source.sql}')
    relation = f'"{tmp_path.name}"."My Labels"'
    explained = project.explain_row("late", relation, 4)
    assert "arr_delay" in str(explained.to_dict())
    assert call(project, "build-training-set", "--service", "late", "--labels", relation, "--plan") == 0
    assert '"legs"' in capsys.readouterr().out
    with pytest.raises(LabelError, match="no relation of that name"):
        project.build_training_set("late", "nosuch")


def test_a_script_can_be_pasted_and_a_model_be_written(project, warehouse, tmp_path):
    source = warehouse.attach(LABELS)
    warehouse.execute(f'CREATE TABLE "some_labels" AS SELECT * FROM {source.sql}')
    relation = f'"{tmp_path.name}"."some_labels"'
    script = project.training_set_sql("late", relation)
    *steps, last = [part for part in script.split(";\n") if part.strip()]
    for step in steps:
        warehouse.execute(step)
    assert len(warehouse.rows(last)) == 6
    with project.build_training_set("late", relation) as built:
        assert built.sql == script


def test_modes_are_compared_and_nothing_is_left_of_them(project):
    with project.build_training_set("late", LABELS, compare_modes=True) as built:
        (pair,) = built.report.modes.pairs
        assert dict(pair.shares) == {"legs__arr_delay": 0.0}
    project.export(store=MemoryStore(), as_of=NOON)


def test_names_that_are_too_long_for_the_server_are_whole_in_files(tmp_path, postgres_server):
    long = "delay_of_the_arrival_at_the_gate_as_the_airline_reports_it_itself"[:60]
    node = made.model(
        "legs_of_planes_of_all_airlines",
        columns={long: made.column("double precision")},
        drop=("arr_delay",),
        node={"relation_name": f'"postgres"."{tmp_path.name}"."legs"'},
    )
    view = "legs_of_planes_of_all_airlines"
    project = layer(
        tmp_path, postgres_server, node,
        exposures=(made.exposure(f"{view}.{long}", label_timestamp="at", depends_on=(f"model.shop.{view}",)),),
        sql='CREATE TABLE {schema}.legs AS SELECT \'N1\' AS tailnum, TIMESTAMP \'2024-01-01\' AS landed_at, '
        f"1.5::double precision AS {long}",
    )  # fmt: skip
    with project.build_training_set("late", LABELS) as built:
        assert built.columns[-1] == f"{view}__{long}"
        assert built.to_arrow().column(f"{view}__{long}").to_pylist() == [1.5, None, None, None, 1.5, None]
        for kind in ("parquet", "csv"):
            getattr(built, f"to_{kind}")(tmp_path / f"out.{kind}")
        assert pq.read_schema(tmp_path / "out.parquet").names == list(built.columns)
        assert (tmp_path / "out.csv").read_text().splitlines()[0] == ",".join(built.columns)
        assert built.to_table("train") == 6


def test_a_table_that_is_not_ours_is_not_replaced(project, warehouse):
    with project.build_training_set("late", LABELS) as built:
        with pytest.raises(WarehouseError, match="legs exists and is not a training set that featurelayer wrote"):
            built.to_table("legs")
        assert built.to_table("Train") == 6
        assert built.to_table("train") == 6
    warehouse.execute("CREATE VIEW seen AS SELECT 1 AS x")
    with project.build_training_set("late", LABELS) as built, pytest.raises(WarehouseError, match="seen exists"):
        built.to_table("seen")
    assert warehouse.rows("SELECT count(*) FROM legs") == [(5,)]


def test_labels_that_are_appended_give_the_set_of_all(project, warehouse, tmp_path):
    lock = tmp_path / "train.lock.json"
    for labels, append in ((LABELS.slice(0, 4), False), (LABELS.slice(4), True)):
        with project.build_training_set("late", labels) as built:
            assert built.to_table("train", lock=lock, append=append) == len(labels)
    with project.build_training_set("late", LABELS) as built:
        expected = built.to_arrow()
    assert warehouse.arrow("SELECT * FROM train").read_all().equals(expected)
    other = LABELS.append_column("more", pa.array([1] * 6))
    with project.build_training_set("late", other) as built, pytest.raises(FeatureLayerError, match="more"):
        built.to_table("train", lock=lock, append=True)
    assert warehouse.rows("SELECT count(*) FROM train") == [(6,)]


def test_an_index_decides_how_rows_are_looked_up_and_never_what_is_found(project, warehouse):
    warehouse.execute("INSERT INTO legs SELECT 'N' || n % 50, timestamp '2023-01-01' + n * interval '1 hour', n "
                      "FROM generate_series(1, 20000) AS n")  # fmt: skip
    with project.build_training_set("late", LABELS) as built:
        scanned, without = built.to_arrow(), built.sql
    warehouse.execute("CREATE INDEX ON legs (tailnum, landed_at)")
    warehouse.execute("ANALYZE legs")
    with project.build_training_set("late", LABELS) as built:
        assert built.to_arrow().equals(scanned)
        assert "LATERAL" in built.sql
        assert "LATERAL" not in without
    # As many labels as rows are better sorted with them.
    many = pa.concat_tables([LABELS] * 3000)
    with project.build_training_set("late", many) as built:
        assert "LATERAL" not in built.sql
    for wrong in ("(landed_at, tailnum)", "(tailnum) WHERE arr_delay > 0", "(tailnum, arr_delay, landed_at)"):
        warehouse.execute("DROP INDEX legs_tailnum_landed_at_idx")
        warehouse.execute(f"CREATE INDEX legs_tailnum_landed_at_idx ON legs {wrong}")
        with project.build_training_set("late", LABELS) as built:
            assert "LATERAL" not in built.sql


# --- exports ---------------------------------------------------------------------------------------------------------


def value(store: MemoryStore, tailnum: str = "N1") -> object:
    return FeatureClient(store).lookup("late", {"tailnum": tailnum})["legs__arr_delay"]


def test_only_what_changed_is_written_and_what_is_gone_is_removed(project, warehouse):
    store = MemoryStore()
    (first,) = project.export(store=store).views
    assert (first.rows, first.written, first.unchanged) == (3, 3, 0)
    assert [value(store, key) for key in ("N1", "N2", "'; DROP TABLE legs; --", "?")] == [None, -3.5, 7.0, None]
    (again,) = project.export(store=store).views
    assert (again.written, again.unchanged) == (0, 3)
    warehouse.execute("DELETE FROM legs WHERE tailnum = 'N2'")
    warehouse.execute("INSERT INTO legs VALUES ('N1', '2024-01-01 13:00', 1.25)")
    assert project.plan_export(store=store).views[0].to_dict()["changed"] == 1
    (changed,) = project.export(store=store).views
    assert (changed.written, changed.unchanged, changed.tombstones) == (1, 1, 1)
    assert (value(store), value(store, "N2")) == (1.25, None)
    (back,) = project.rollback("legs", project.kept_exports("legs", store=store)[-1].run, store=store).views
    assert (back.written, back.tombstones) == (2, 0)
    assert (value(store), value(store, "N2")) == (None, -3.5)


def test_what_was_served_is_known_to_a_training_set(project, tmp_path):
    (tmp_path / "featurelayer.yml").write_text(
        json.dumps({"entities": made.ENTITIES, "online_store": {"dev": {"type": "sqlite", "path": "online.db"}}})
    )
    project = FeatureLayer(tmp_path, profiles_dir=tmp_path)
    project.export(as_of=datetime(2024, 1, 1, 11, 30))
    labels = pa.table({"tailnum": ["N2", "N2"], "at": [datetime(2024, 1, 1, 12), datetime(2999, 1, 1)]})
    with project.build_training_set("late", labels, mode="as_served") as built:
        assert built.to_arrow()["legs__arr_delay"].to_pylist() == [None, -3.5]
    with project.build_training_set("late", labels, compare_modes=True) as built:
        assert len(built.report.modes.pairs) == 3
        assert built.report.warnings == ()


def test_two_exporters_at_once_leave_the_store_as_the_warehouse_is(project, warehouse, postgres_server):
    """Each sees what the other has written down, or comes after it: no key is lost, whoever is first."""
    store = MemoryStore()
    warehouse.execute("INSERT INTO legs SELECT 'K' || n, '2024-01-01 10:00', n FROM generate_series(1, 500) AS n")
    failed: list[BaseException] = []

    def export() -> None:
        try:
            FeatureLayer(project.project.root, profiles_dir=project.project.root).export(store=store)
        except BaseException as error:  # noqa: BLE001 (told by the main thread)
            failed.append(error)

    project.export(store=store)
    warehouse.execute("UPDATE legs SET arr_delay = arr_delay + 1000, landed_at = now() WHERE tailnum LIKE 'K%'")
    threads = [threading.Thread(target=export) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    expected = dict(warehouse.rows("SELECT tailnum, arr_delay FROM legs WHERE tailnum LIKE 'K%'"))
    assert {key: value(store, key) for key in expected} == expected
    plan = project.plan_export(store=store).views[0].to_dict()
    assert (plan["new"], plan["changed"], plan["removed"], plan["unchanged"]) == (0, 0, 0, 503)
    versions = [found for (found,) in warehouse.rows("SELECT version FROM featurelayer_exports ORDER BY started_at")]
    assert len(versions) == 4
    assert versions == sorted(set(versions))


def test_streamed_values_are_drained_once_and_a_subject_is_erased(project, warehouse):
    store = MemoryStore()
    project.export(store=store, as_of=NOON)
    client = FeatureClient(store)
    client.write("legs", [{"tailnum": "N2", "arr_delay": 8.25, "landed_at": NOON + timedelta(hours=1)}])
    for appended in (1, 0):
        (done,) = project.drain(["legs"], store=store)
        assert (done.appended, done.known) == (appended, 0)
    table = f'"{project.project.root.name}".featurelayer_streamed__legs'
    assert warehouse.rows(f"SELECT tailnum, landed_at, arr_delay FROM {table}") == [
        ("N2", datetime(2024, 1, 1, 14), 8.25)
    ]
    (forgotten,) = project.forget({"tailnum": "N2"}, store=store)
    assert (forgotten.items, forgotten.streamed) == (1, 1)
    assert forgotten.export_items > 0
    assert value(store, "N2") is None
    assert warehouse.rows(f"SELECT count(*) FROM {table}") == [(0,)]


def test_an_export_that_cannot_be_leaves_no_trace(project, warehouse):
    warehouse.execute("INSERT INTO legs VALUES ('N9', 'infinity', 1)")
    store = MemoryStore()
    project.export(store=store)
    warehouse.execute("ALTER TABLE legs ALTER arr_delay TYPE numeric")
    warehouse.execute("DROP TABLE legs")
    with pytest.raises(PlanError, match="dbt build"):
        project.export(store=store)
    left = "SELECT count(*) FROM pg_class WHERE relname LIKE '\\_\\_fl%' AND relpersistence <> 't'"
    assert warehouse.rows(left) == [(0,)]


def test_the_commands_work_on_a_postgres_target(project, tmp_path, capsys):
    pq.write_table(LABELS, tmp_path / "labels.parquet")
    (tmp_path / "featurelayer.yml").write_text(
        json.dumps({"entities": made.ENTITIES, "online_store": {"dev": {"type": "sqlite", "path": "online.db"}}})
    )
    labels = ["--labels", str(tmp_path / "labels.parquet")]
    assert call(project, "build-training-set", "--service", "late", *labels, "--output", str(tmp_path / "o.csv")) == 0
    assert call(project, "reproduce", str(tmp_path / "o.lock.json")) == 0
    assert call(project, "export") == 0
    capsys.readouterr()
    assert call(project, "lookup", "--service", "late", "--key", "tailnum=N2", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["legs__arr_delay"]["value"] == -3.5


def test_changed_values_of_a_static_view_are_counted_from_its_exports(postgres_server: Server, tmp_path: Path) -> None:
    root = tmp_path / "static_changes"
    node = made.model(
        static=True, online=True, drop=("landed_at",), config={"event_time": None},
        node={"relation_name": f'"postgres"."{root.name}"."legs"'},
    )  # fmt: skip
    rows = (
        "CREATE TABLE {schema}.legs AS SELECT * FROM (VALUES ('N1', 5.0::float8), ('N2', 1)) AS t (tailnum, arr_delay)"
    )
    found = layer(root, postgres_server, node, exposures=(made.exposure("legs.arr_delay"),), sql=rows)
    (root / "featurelayer.yml").write_text(
        json.dumps({"entities": made.ENTITIES, "online_store": {"dev": {"type": "sqlite", "path": "o.db"}}})
    )
    found = FeatureLayer(root, profiles_dir=root)
    found.export()
    warehouse = session(postgres_server, root.name)
    warehouse.execute(f"""UPDATE "{root.name}".legs SET arr_delay = 6 WHERE tailnum = 'N1'""")
    warehouse.close()
    found.export()
    (result,) = [each for each in found.monitor(record=False).results if each.monitor == "static_changes"]
    assert (str(result.status), result.value) == ("warn", 0.5)
