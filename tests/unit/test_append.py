"""New labels to a set that is there: what is refused before anything is written, and what the lock says afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurelayer.cli import main
from featurelayer.errors import LabelError, LockError, WarehouseError
from featurelayer.layer import FeatureLayer
from featurelayer.training.lock import read_lock
from tests.unit import dbt_projects as made
from tests.unit.test_reproduce import LABELS, LEGS, LOADED, SHA, TIMES
from tests.unit.warehouses import layer

pytestmark = pytest.mark.slow

OLD, NEW = LABELS.slice(0, 2), LABELS.slice(2)


@dataclass
class Shop:
    """A project with a set of the first two labels."""

    root: Path
    suffix: str = "parquet"

    @property
    def output(self) -> Path:
        return self.root / "out" / f"train.{self.suffix}"

    @property
    def lock(self) -> Path:
        return self.root / "out" / "train.lock.json"

    @property
    def layer(self) -> FeatureLayer:
        return FeatureLayer(self.root, profiles_dir=self.root)

    def begin(self, *nodes: dict, sql: str = LEGS) -> Shop:
        self.root.mkdir(parents=True)
        layer(self.root, *nodes, sql=sql)
        for name, table in (("old", OLD), ("new", NEW), ("all", LABELS)):
            pq.write_table(table, self.root / f"{name}.parquet")
        self.append("old")
        return self

    def append(self, labels: Any = "new", service: str | None = "late", **request: Any) -> Shop:
        labels = self.root / f"{labels}.parquet" if isinstance(labels, str) else labels
        with self.layer.build_training_set(service, labels, **request) as built:
            write = built.to_csv if self.suffix == "csv" else built.to_parquet
            write(self.output, append=True)
        return self

    def change(self, *nodes: dict, exposures: tuple[dict, ...] = ()) -> Shop:
        asked = exposures or (made.exposure("legs.arr_delay", label_timestamp="at"),)
        made.project(self.root, made.manifest(*nodes, exposures=asked))
        return self

    def refused(self, append: Callable[[], Any] | None = None) -> str:
        """What is said when an append is refused; nothing may have been written."""
        before = {path: path.read_bytes() for path in self.output.parent.rglob("*")}
        with pytest.raises((LockError, LabelError)) as raised:
            (append or self.append)()
        assert {path: path.read_bytes() for path in self.output.parent.rglob("*")} == before
        return str(raised.value)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "shop")


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_the_new_labels_come_after_the_old_ones(shop: Shop, suffix: str) -> None:
    shop.suffix = suffix
    shop.begin().append()
    with shop.layer.build_training_set("late", shop.root / "all.parquet") as whole:
        if suffix == "csv":
            right = whole.to_csv(shop.root / "whole.csv").read_bytes()
            assert shop.output.read_bytes() == right
        else:
            assert pq.read_table(shop.output).equals(whole.to_arrow())
            assert read_lock(shop.lock).columns == whole.lock["columns"]
    lock = read_lock(shop.lock)
    assert (lock.labels.rows, [part.labels.rows for part in lock.parts]) == (4, [2, 2])
    assert [part.labels_at for part in lock.parts] == ["old.parquet", "new.parquet"]
    assert (lock.report["rows"], lock.report["views"][0]["matched"], lock.report["features"][0]["missing"]) == (
        4,
        3,
        0.25,
    )
    assert sorted(path.name for path in shop.output.parent.iterdir()) == sorted([shop.lock.name, shop.output.name])


def test_only_the_new_labels_are_computed(shop: Shop) -> None:
    """What the warehouse says of the old ones now does not come in."""
    shop.begin()
    with duckdb.connect(str(shop.root / "db.duckdb")) as connection:
        connection.execute("UPDATE legs SET arr_delay = 77")
    shop.append()
    assert pq.read_table(shop.output)["legs__arr_delay"].to_pylist() == [5.0, None, 77.0, None]


def test_a_set_is_begun_where_there_is_none_and_grows_by_nothing(shop: Shop) -> None:
    shop.begin().append(NEW.slice(0, 0)).append().append(NEW.slice(0, 0))
    assert [part.labels.rows for part in read_lock(shop.lock).parts] == [2, 0, 2, 0]


def test_small_appends_leave_no_small_row_groups(shop: Shop) -> None:
    shop.begin()
    for hour in range(3):
        shop.append(pa.table({"tailnum": ["N1"], "at": pa.array([TIMES[hour]], pa.timestamp("us")), "y": [hour]}))
    assert pq.ParquetFile(shop.output).num_row_groups == 1
    assert pq.read_table(shop.output).num_rows == 5


# --- reproduce ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_every_part_is_made_again(shop: Shop, suffix: str) -> None:
    shop.suffix = suffix
    loaded = {"loaded_at": made.column("timestamp", feature=False)}
    shop.begin(made.model(columns=loaded, created_timestamp="loaded_at"), sql=LOADED)
    shop.append()
    assert shop.layer.reproduce(shop.lock).identical
    with duckdb.connect(str(shop.root / "db.duckdb")) as connection:
        connection.execute("INSERT INTO legs VALUES ('N2', TIMESTAMP '2024-01-01 10:59', 1, now()), "
                           "('N2', TIMESTAMP '2024-01-01 11:00', 44, now() + INTERVAL 1 HOUR)")  # fmt: skip
    found = shop.layer.reproduce(shop.lock)
    assert [(column.name, column.rows, column.examples) for column in found.differences] == [
        ("legs__arr_delay", 1, (2,))
    ]
    assert {str(reason.cause) for join in found.joins for reason in join.reasons} == {"late rows"}
    json.dumps(found.to_dict())


def test_labels_of_a_set_with_parts_in_one_piece(shop: Shop) -> None:
    shop.begin().append()
    (shop.root / "old.parquet").unlink()
    with pytest.raises(LabelError, match=r"label file old\.parquet"):
        shop.layer.reproduce(shop.lock)
    assert shop.layer.reproduce(shop.lock, LABELS).identical
    assert shop.layer.reproduce(shop.lock, shop.root / "all.parquet").identical
    with pytest.raises(LabelError, match="4 rows at its builds, 2 now"):
        shop.layer.reproduce(shop.lock, NEW)
    with pytest.raises(LabelError, match="can't be cut into its 2 parts"):
        shop.layer.reproduce(shop.lock, "legs")


def test_rows_that_somebody_added_to_the_file_are_noticed(shop: Shop) -> None:
    shop.begin().append()
    table = pq.read_table(shop.output)
    pq.write_table(pa.concat_tables([table, table]), shop.output)
    with duckdb.connect(str(shop.root / "db.duckdb")) as connection:
        connection.execute("UPDATE legs SET arr_delay = 77")
    found = shop.layer.reproduce(shop.lock)
    assert "no longer the file" in found.differences[0].unknown


# --- refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (made.model(ttl="3 days"), "legs: ttl was none, is 3 days"),
        (made.model(delay="1 hour"), "legs: delay was none, is 1 hour"),
        (
            made.model(columns={"arr_delay": made.column("double", default=1)}),
            "the default of arr_delay was none, is 1",
        ),
    ],
)
def test_a_changed_definition(shop: Shop, node: dict, said: str) -> None:
    shop.begin().change(node)
    message = shop.refused()
    assert said in message
    assert "without append=True" in message


def test_a_changed_model_but_not_a_seed_with_more_rows(shop: Shop) -> None:
    def nodes(own: str, seed: str) -> tuple[dict, dict]:
        raw = made.model("raw", kind="seed", node={"checksum": {**SHA, "checksum": seed}, "columns": {}})
        raw["config"]["meta"] = {}
        legs = made.model(node={"checksum": {**SHA, "checksum": own}, "depends_on": {"nodes": [raw["unique_id"]]}})
        return legs, raw

    shop.begin(*nodes("a" * 64, "b" * 64)).change(*nodes("a" * 64, "c" * 64)).append()
    shop.change(*nodes("d" * 64, "c" * 64))
    assert "the SQL of model.shop.legs has another checksum" in shop.refused()


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"mode": "event_time"}, "the mode was known_at, is event_time"),
        ({"service": None, "features": ["legs.arr_delay"], "label_timestamp": "at"}, "the set is of late, the new"),
        ({"keys": {"tailnum": "k"}, "labels": NEW.rename_columns(["k", "at", "y"])}, "label column 'k' is new"),
        ({"labels": NEW.drop_columns(["y"])}, "there is no label column 'y' any more"),
        ({"labels": NEW.set_column(2, "y", pa.array(["a", "b"]))}, "label column y was int64, is text"),
        ({"labels": NEW.select(["y", "at", "tailnum"])}, "the label columns were in the order tailnum, at, y"),
        ({"labels": OLD}, "the same 2 labels are in the set already, from row 0 on"),
    ],
)  # fmt: skip
def test_another_request(shop: Shop, request_: dict, said: str) -> None:
    shop.begin()
    assert said in shop.refused(lambda: shop.append(**request_))


def test_other_columns_of_the_service(shop: Shop) -> None:
    more = made.model(columns={"distance": made.column("integer")})
    shop.begin(more, sql=LEGS + "; ALTER TABLE legs ADD COLUMN distance INTEGER")
    shop.change(more, exposures=(made.exposure("legs.arr_delay", "legs.distance", label_timestamp="at"),))
    assert "feature column 'legs__distance' is new" in shop.refused()


def test_a_type_that_the_warehouse_has_now(shop: Shop) -> None:
    shop.begin()
    with duckdb.connect(str(shop.root / "db.duckdb")) as connection:
        connection.execute("ALTER TABLE legs ALTER arr_delay TYPE DECIMAL(9, 2)")
    assert "arr_delay was float64 in the warehouse, is decimal(9,2)" in shop.refused()


def test_all_of_it_is_said_at_once_and_before_anything_is_computed(shop: Shop) -> None:
    shop.begin().change(made.model(ttl="3 days"))
    steps: list[str] = []

    def tell(name: str, *_: int) -> None:
        steps.append(name)

    def append() -> None:
        labels = NEW.drop_columns(["y"])
        shop.layer.build_training_set("late", labels, extends=shop.lock, progress=tell)

    message = shop.refused(append)
    assert ("ttl was none" in message, "'y'" in message, steps) == (True, True, [])


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_file_that_is_not_what_the_lock_says(shop: Shop, suffix: str) -> None:
    shop.suffix = suffix
    shop.begin()
    if suffix == "csv":
        shop.output.write_text(shop.output.read_text().replace("5.0", "6.0"))
    else:
        table = pq.read_table(shop.output)
        pq.write_table(table.slice(0, 1), shop.output)
    assert "no longer the file" in shop.refused()
    shop.output.unlink()
    assert "does not exist, although" in shop.refused()


def test_a_lock_that_is_gone_or_of_another_file(shop: Shop) -> None:
    shop.begin()
    other = shop.output.with_name("other.parquet")
    other.write_bytes(shop.output.read_bytes())

    def append_to_other() -> None:
        with shop.layer.build_training_set("late", NEW) as built:
            built.to_parquet(other, lock=shop.lock, append=True)

    assert "is not the lock of" in shop.refused(append_to_other)
    shop.lock.unlink()
    assert "there is no such lock" in shop.refused()


def test_two_appends_at_once_lose_nothing(shop: Shop) -> None:
    shop.begin()
    with shop.layer.build_training_set("late", NEW) as built:
        finish = built._warehouse.write_file

        def meanwhile(*arguments: Any, **named: Any) -> int:
            shop.append(NEW.slice(1))
            return finish(*arguments, **named)

        built._warehouse.write_file = meanwhile
        with pytest.raises(LockError, match=r"another build has written|no longer the file"):
            built.to_parquet(shop.output, append=True)
    assert (read_lock(shop.lock).labels.rows, pq.read_table(shop.output).num_rows) == (3, 3)


# --- tables -------------------------------------------------------------------------------------------------------


def to_table(shop: Shop, labels: Any, lock: Path | None = None, name: str = "train", **request: Any) -> None:
    with shop.layer.build_training_set("late", labels, writable=True, **request) as built:
        built.to_table(name, lock=lock, append=True)


def table(shop: Shop) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(shop.root / "db.duckdb")) as connection:
        return connection.execute("FROM train").fetchall()


@pytest.mark.parametrize("locked", [True, False])
def test_a_table(shop: Shop, locked: bool) -> None:
    lock = shop.root / "table.lock.json" if locked else None
    shop.begin()
    to_table(shop, OLD, lock)
    to_table(shop, shop.root / "new.parquet", lock)
    with shop.layer.build_training_set("late", LABELS) as whole:
        rows = whole.to_arrow().to_pylist()
    assert table(shop) == [tuple(row.values()) for row in rows]
    if lock:
        assert [part.labels.rows for part in read_lock(lock).parts] == [2, 2]
        assert shop.layer.reproduce(lock, LABELS).identical
        assert "same 2 labels" in shop.refused(lambda: to_table(shop, NEW, lock))
    shop.change(made.model(ttl="3 days"))
    said = shop.refused(lambda: to_table(shop, NEW.slice(1), lock))
    assert ("ttl was none, is 3 days" if locked else "train was built with other definitions") in said
    assert len(table(shop)) == 4


def test_a_table_that_is_not_ours_or_not_the_locks(shop: Shop) -> None:
    lock = shop.root / "table.lock.json"
    shop.begin()
    with pytest.raises(WarehouseError, match="is not a training set that featurelayer wrote"):
        to_table(shop, NEW, name="legs")
    to_table(shop, OLD, lock)
    with duckdb.connect(str(shop.root / "db.duckdb")) as connection:
        connection.execute("DELETE FROM train WHERE y = 1")
    assert "train has 1 rows, and table.lock.json describes 2" in shop.refused(lambda: to_table(shop, NEW, lock))
    with duckdb.connect(str(shop.root / "db.duckdb")) as connection:
        connection.execute("DROP TABLE train")
    assert "table train does not exist" in shop.refused(lambda: to_table(shop, NEW, lock))


# --- the command --------------------------------------------------------------------------------------------------


def test_the_command(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.begin()

    def run(*arguments: str) -> int:
        root = str(shop.root)
        return main(
            ["build-training-set", "--project-dir", root, "--profiles-dir", root, "--service", "late", *arguments]
        )

    new = ["--labels", str(shop.root / "new.parquet"), "--append"]
    assert run(*new, "--output", str(shop.output)) == 0
    assert f": appended to {shop.output}" in capsys.readouterr().out
    assert pq.read_table(shop.output).num_rows == 4
    assert run(*new, "--output", str(shop.output)) == 1
    assert "the same 2 labels are in the set already" in capsys.readouterr().err
    assert run(*new) == 2
    assert "Pass the set to append to" in capsys.readouterr().err
    for labels in ("old", "new"):
        assert run("--labels", str(shop.root / f"{labels}.parquet"), "--append", "--as-table", "train") == 0
    assert len(table(shop)) == 4
