"""Declared types against the warehouse's: one type everywhere, exact casts, and refusals before anything is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurelayer.errors import PlanError, StoredSchemaMismatch
from featurelayer.layer import FeatureLayer
from featurelayer.online import FeatureClient, MemoryStore, open_store
from featurelayer.sql.dialects import dialect
from featurelayer.training.lock import read_lock, seal
from tests.unit import dbt_projects as made
from tests.unit.warehouses import layer

pytestmark = pytest.mark.slow

LABELS = pa.table({"tailnum": ["N1", "N2"], "at": pa.array([datetime(2024, 1, 2)] * 2, pa.timestamp("us"))})


def types_project(root: Path, **columns: tuple[str, str]) -> FeatureLayer:
    """A view with a feature for each column: its declared type, and the SQL of its value."""
    declared = {name: made.column(text) for name, (text, _) in columns.items()}
    values = ", ".join(f"{sql} AS {name}" for name, (_, sql) in columns.items())
    return layer(
        root,
        made.model(columns=declared, drop=("arr_delay",), online=True),
        exposures=(made.exposure("legs.*", label_timestamp="at"),),
        sql=f"CREATE TABLE legs AS SELECT 'N1' AS tailnum, TIMESTAMP '2024-01-01' AS landed_at, {values}",
    )


def trained(found: FeatureLayer, root: Path) -> list[dict[str, Any]]:
    """The features of a training set in all its forms, which must be alike; without the prefix of their names."""
    path = root / "set.parquet"
    with found.build_training_set("late", LABELS) as made_set:
        rows = made_set.to_arrow().to_pylist()
        made_set.to_parquet(path)
    assert [_plain(row) for row in pq.read_table(path).to_pylist()] == [_plain(row) for row in rows]
    return [
        {name.removeprefix("legs__"): value for name, value in row.items() if name.startswith("legs__")} for row in rows
    ]


def served(found: FeatureLayer) -> list[dict[str, Any]]:
    store = MemoryStore()
    found.export(store=store)
    with FeatureClient(store) as client:
        vectors = client.lookup_many("late", [{"tailnum": "N1"}, {"tailnum": "N2"}])
    return [{name.removeprefix("legs__"): value for name, value in vector.to_dict().items()} for vector in vectors]


def _plain(row: dict[str, Any]) -> dict[str, str]:
    """A row in words that tell types apart; an instant is in UTC, whatever its zone is called."""
    return {name: f"{type(value).__name__} {_in_utc(value)!r}" for name, value in row.items()}


def _in_utc(value: Any) -> Any:
    return value.astimezone(UTC) if isinstance(value, datetime) and value.tzinfo is not None else value


def refusal(run: Callable[[], object]) -> PlanError:
    with pytest.raises(PlanError) as caught:
        run()
    return caught.value


# name: declared type, the SQL of a value of another type (or of the same), the value on both sides
EXACT: dict[str, tuple[str, str, Any]] = {
    "float32 of a double": ("float", "0.5::DOUBLE", 0.5),
    "float32 NaN": ("float", "'nan'::DOUBLE", "nan"),
    "float32 infinity": ("float", "'-inf'::DOUBLE", float("-inf")),
    "float32 of a decimal": ("float", "0.5::DECIMAL(4, 1)", 0.5),
    "float32 of text": ("float", "'0.5'", 0.5),
    "float32 of an integer": ("float", "16777216", 16777216.0),
    "double of text": ("double", "'0.1'", 0.1),
    "double of a float": ("double", "0.1::FLOAT", 0.10000000149011612),
    "double of a decimal": ("double", "1.10::DECIMAL(10, 2)", 1.1),
    "double of a bigint": ("double", "9007199254740992::BIGINT", 9007199254740992.0),
    "bigint of a hugeint": ("bigint", "9223372036854775807::HUGEINT", 2**63 - 1),
    "hugeint": ("hugeint", "-12345678901234567890::HUGEINT", Decimal("-12345678901234567890")),
    "uhugeint": ("uhugeint", "5::UHUGEINT", Decimal(5)),
    "hugeint of a bigint": ("hugeint", "5::BIGINT", Decimal(5)),
    "ubigint": ("ubigint", "18446744073709551615::UBIGINT", 2**64 - 1),
    "utinyint of an integer": ("utinyint", "255", 255),
    "integer of a utinyint": ("integer", "255::UTINYINT", 255),
    "integer of a bignum": ("bigint", "5::BIGNUM", 5),
    "decimal of more digits": ("decimal(10, 2)", "1.50::DECIMAL(18, 4)", Decimal("1.50")),
    "decimal of an integer": ("decimal(10, 2)", "7", Decimal("7.00")),
    "decimal of a double": ("decimal(10, 2)", "1.25::DOUBLE", Decimal("1.25")),
    "integer of a decimal": ("integer", "7.000::DECIMAL(9, 3)", 7),
    "boolean of text": ("boolean", "'false'", False),
    "boolean of an integer": ("boolean", "1", True),
    "integer of text": ("integer", "'7'", 7),
    "text of an integer": ("varchar", "7", "7"),
    "date of text": ("date", "'2024-02-29'", date(2024, 2, 29)),
    "date of a timestamp": ("date", "TIMESTAMP '2024-01-01'", date(2024, 1, 1)),
    "timestamp of a date": ("timestamp", "DATE '2024-01-01'", datetime(2024, 1, 1)),
    "timestamp of an instant": ("timestamp", "TIMESTAMPTZ '2024-01-01 10:00+02'", datetime(2024, 1, 1, 8)),
    "instant of a timestamp": ("timestamptz", "TIMESTAMP '2024-01-01 10:00'", datetime(2024, 1, 1, 10, tzinfo=UTC)),
    "timestamp_s": ("timestamp_s", "'2024-01-01'::TIMESTAMP_S", datetime(2024, 1, 1)),
    "timestamp_ms": ("timestamp", "'2024-01-01'::TIMESTAMP_MS", datetime(2024, 1, 1)),
    "timestamp_ns": ("timestamp_ns", "'2024-01-01 00:00:00.000001'::TIMESTAMP_NS", datetime(2024, 1, 1, 0, 0, 0, 1)),
    "uuid": ("uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::UUID", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    "uuid of text": ("uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    "blob": ("blob", "'\\x00a'::BLOB", b"\x00a"),
    "enum": ("varchar", "'a'::ENUM ('b', 'a')", "a"),
    "enum, declared so": ("enum('b', 'a')", "'a'::ENUM ('b', 'a')", "a"),
    "json": ("json", "'{\"a\": 1}'::JSON", '{"a": 1}'),
    "text of json": ("varchar", "'{\"a\": 1}'::JSON", '{"a": 1}'),
    "floats of doubles": ("float[]", "[0.5::DOUBLE, NULL]", [0.5, None]),
    "doubles of a vector": ("double[]", "[0.5::FLOAT, 2]::FLOAT[2]", [0.5, 2.0]),
    "integers of hugeints": ("bigint[]", "[5::HUGEINT]", [5]),
    "NULL": ("float", "NULL::DOUBLE", None),
}

# name: declared type, the SQL of a value that it can't hold, the type that the warehouse has, the value as told
INEXACT: dict[str, tuple[str, str, str, str]] = {
    "float32 of a double": ("float", "0.1::DOUBLE", "float64", "0.1"),
    "float32 too small": ("float", "1e300::DOUBLE", "float64", "1e+300"),
    "double of a bigint": ("double", "9007199254740993::BIGINT", "int64", "9007199254740993"),
    "bigint of a hugeint": ("bigint", "9223372036854775808::HUGEINT", "int128", "9223372036854775808"),
    "hugeint of 39 digits": ("hugeint", f"{10**38}::HUGEINT", "int128", str(10**38)),
    "float32 of a decimal": ("float", "0.1::DECIMAL(4, 1)", "decimal(4,1)", "0.1"),
    "float32 of text": ("float", "'0.1'", "text", "0.1"),
    "float32 of an integer": ("float", "16777217", "int32", "16777217"),
    "integer of a double": ("integer", "1.5::DOUBLE", "float64", "1.5"),
    "integer NaN": ("integer", "'nan'::DOUBLE", "float64", "nan"),
    "utinyint of an integer": ("utinyint", "-1", "int32", "-1"),
    "decimal of more digits": ("decimal(10, 2)", "1.505::DECIMAL(18, 4)", "decimal(18,4)", "1.5050"),
    "decimal too large": ("decimal(4, 2)", "100::DECIMAL(18, 4)", "decimal(18,4)", "100.0000"),
    "boolean of text": ("boolean", "'yes'", "text", "yes"),
    "boolean of an integer": ("boolean", "2", "int32", "2"),
    "integer of text": ("integer", "'007'", "text", "007"),
    "date of text": ("date", "'2024-02-30'", "text", "2024-02-30"),
    "date of a timestamp": ("date", "TIMESTAMP '2024-01-01 10:00'", "timestamp", "2024-01-01 10:00:00"),
    "timestamp of a date": ("timestamp", "DATE '12000-01-01'", "date", "12000-01-01"),
    "timestamp_ns": (
        "timestamp", "'2024-01-01 00:00:00.000000001'::TIMESTAMP_NS", "timestamp with nanoseconds",
        "2024-01-01 00:00:00.000000001",
    ),
    "uuid of text": ("uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "text", "A0EEBC99"),
    "floats of doubles": ("float[]", "[0.5, 0.1]::DOUBLE[]", "array<float64>", "[0.5, 0.1]"),
}  # fmt: skip

# Between these nothing is ever cast.
NEVER: dict[str, tuple[str, str, str]] = {
    "bytes of text": ("blob", "'a'", "text"),
    "text of a double": ("varchar", "0.5::DOUBLE", "float64"),
    "text of bytes": ("varchar", "'a'::BLOB", "bytes"),
    "number of a date": ("integer", "DATE '2024-01-01'", "date"),
    "text of a list": ("varchar", "['a']", "array<text>"),
    "number of a list": ("double", "[1.5]", "array<decimal(2,1)>"),
    "text of a record": ("varchar", "{'a': 1}", "struct<>"),
    "text of an interval": ("varchar", "INTERVAL 1 DAY", "interval"),
    "text of a time": ("varchar", "TIME '10:00'", "time"),
}


@pytest.mark.parametrize("name", EXACT)
def test_training_and_lookup_have_the_same_value_of_the_declared_type(tmp_path: Path, name: str) -> None:
    declared, sql, value = EXACT[name]
    found = types_project(tmp_path, x=(declared, sql))
    training, serving = trained(found, tmp_path), served(found)
    assert [_plain(row) for row in training] == [_plain(row) for row in serving]
    (first, unknown) = training
    assert unknown == {"x": None}
    assert value == "nan" or (type(first["x"]), first["x"]) == (type(value), value)


@pytest.mark.parametrize("name", INEXACT)
def test_a_value_that_the_declared_type_can_not_hold_is_told(tmp_path: Path, name: str) -> None:
    declared, sql, stored, value = INEXACT[name]
    found = types_project(tmp_path, x=(declared, sql))
    for run in (lambda: found.build_training_set("late", LABELS), lambda: found.export(store=MemoryStore())):
        (problem,) = refusal(run).problems
        assert problem.what.startswith(f'legs: feature \'x\' is {stored} in "db"."main"."legs", declared ')
        assert f": 1 value does not fit, such as {value}" in problem.what
        assert problem.what.endswith(" for tailnum = N1")
        assert problem.where == "models/features.yml -> legs -> columns[x].data_type"
        assert problem.fix.startswith("round or cast it in the model, or declare its own type: ")


@pytest.mark.parametrize("name", NEVER)
def test_types_between_which_nothing_is_cast_are_told(tmp_path: Path, name: str) -> None:
    declared, sql, stored = NEVER[name]
    found = types_project(tmp_path, x=(declared, sql))
    for run in (lambda: found.build_training_set("late", LABELS), lambda: found.export(store=MemoryStore())):
        (problem,) = refusal(run).problems
        assert problem.what.startswith(f'legs: feature \'x\' is {stored} in "db"."main"."legs", declared ')
        assert "fit" not in problem.what


def commands(found: FeatureLayer) -> list[Callable[[], object]]:
    """All that reads features from the warehouse. An export of other rows was before: there is what to verify."""
    store, database = MemoryStore(), str(found.project.root / "db.duckdb")
    with duckdb.connect(database) as connection:
        connection.execute("ALTER TABLE legs RENAME TO later")
        connection.execute("CREATE TABLE legs AS SELECT tailnum, landed_at, NULL AS x FROM later")
        declared = dialect("duckdb").type_text(found.registry.views["legs"].features[0].dtype)
        connection.execute(f"ALTER TABLE legs ALTER x TYPE {declared}")
    found.export(store=store)
    assert found.verify(store=store).ok
    with duckdb.connect(database) as connection:
        connection.execute("DROP TABLE legs")
        connection.execute("ALTER TABLE later RENAME TO legs")
    return [
        lambda: found.build_training_set("late", LABELS),
        lambda: found.build_training_set("late", LABELS, compare_modes=True),
        lambda: found.explain_row("late", LABELS, 0),
        lambda: found.export(store=store),
        lambda: found.plan_export(store=store),
        lambda: found.verify(store=store),
        lambda: found.monitor(),
    ]


def test_every_problem_of_every_view_is_told_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    columns = {
        name: made.column(text) for name, text in {"f": "float", "g": "blob", "h": "integer", "i": "bigint"}.items()
    }
    views = [made.model(name=name, columns=columns, drop=("arr_delay",), online=True) for name in ("legs", "more")]
    rows = (
        "SELECT 'N' || i AS tailnum, TIMESTAMP '2024-01-01' AS landed_at, i / 10 AS f, 'a' AS g, i * 1.5 AS h, i AS i"
    )
    found = layer(
        tmp_path,
        *views,
        exposures=(
            made.exposure("legs.*", "more.f", label_timestamp="at", depends_on=("model.shop.legs", "model.shop.more")),
        ),
        sql=f"CREATE TABLE legs AS {rows} FROM range(100) t(i); CREATE TABLE more AS FROM legs",
    )
    store = MemoryStore()
    for run, names in (
        (lambda: found.build_training_set("late", LABELS), ["legs.g", "legs.f", "legs.h", "more.f"]),
        (lambda: found.export(store=store), ["legs.g", "legs.f", "legs.h", "more.g", "more.f", "more.h"]),
        (lambda: found.monitor(), ["legs.g", "legs.f", "legs.h", "more.g", "more.f", "more.h"]),
    ):
        problems = refusal(run).problems
        told = [".".join((p.what.split(":")[0], p.what.split("'")[1])) for p in problems]
        assert told == names
    counted = next(p.what for p in problems if "'f'" in p.what)
    assert counted.endswith(
        ": 80 values do not fit, such as 0.1 for tailnum = N1, 1.1 for tailnum = N11, 1.2 for tailnum = N12"
    )
    with FeatureClient(store) as client:
        assert client.services() == []
    with duckdb.connect(str(tmp_path / "db.duckdb")) as connection:
        names = [name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
    assert sorted(names) == ["legs", "more"]


@pytest.mark.parametrize(("declared", "sql"), [("float", "0.1::DOUBLE"), ("blob", "'a'")])
def test_every_command_refuses_and_names_the_line(tmp_path: Path, declared: str, sql: str) -> None:
    found = types_project(tmp_path, x=(declared, sql))
    (tmp_path / "models").mkdir(exist_ok=True)
    (tmp_path / "models" / "features.yml").write_text(
        "models:\n  - name: legs\n    columns:\n      - name: tailnum\n      - name: x\n        data_type: float\n"
    )
    for run in commands(found):
        (problem,) = refusal(run).problems
        assert problem.where == "models/features.yml:6 -> legs -> columns[x].data_type"


def test_a_default_has_the_declared_type(tmp_path: Path) -> None:
    """Text that says true and false becomes booleans, like the default that stands in for a missing row."""
    found = layer(
        tmp_path,
        made.model(columns={"b": made.column("boolean", default=False)}, drop=("arr_delay",), online=True),
        exposures=(made.exposure("legs.*", label_timestamp="at"),),
        sql="CREATE TABLE legs AS SELECT 'N1' AS tailnum, TIMESTAMP '2024-01-01' AS landed_at, 'true' AS b",
    )
    assert trained(found, tmp_path) == served(found) == [{"b": True}, {"b": False}]


def test_the_monitors_see_the_values_that_are_served(tmp_path: Path) -> None:
    """Text is counted, numbers are measured: what is declared integer is measured although the column is text."""
    found = types_project(tmp_path, x=("integer", "'7'"))
    found.monitor()
    profile = next(each for each in found.profiles("legs") if each.feature == "x" and each.rows)
    assert (profile.minimum, profile.maximum) == (7.0, 7.0)


def test_the_lock_has_the_declared_and_the_warehouses_type(tmp_path: Path) -> None:
    found = types_project(tmp_path, f=("float", "0.5::DOUBLE"), i=("bigint", "5::HUGEINT"), t=("varchar", "'a'"))
    with found.build_training_set("late", LABELS) as built:
        (join,) = built.lock["joins"]
    assert {name: (column["type"], column["warehouse_type"]) for name, column in join["columns"].items()} == {
        "legs__f": ("float32", "float64"),
        "legs__i": ("int64", "int128"),
        "legs__t": ("text", "text"),
    }


def _locked(path: Path, **types: str) -> Path:
    """The lock of a set that was built before types were compared: of each column it has the warehouse's type alone."""
    document = json.loads(path.read_text())
    for name, column in document["joins"][0]["columns"].items():
        del column["warehouse_type"]
        column["type"] = types.get(name.removeprefix("legs__"), column["type"])
    other = path.with_name("other.lock.json")
    other.write_text(json.dumps(seal(document)))
    return other


def test_a_pin_compares_what_was_trained_on_with_what_is_served(tmp_path: Path) -> None:
    found = types_project(
        tmp_path,
        f=("float", "0.5::DOUBLE"), i=("bigint", "5::HUGEINT"), t=("timestamp", "TIMESTAMPTZ '2024-01-01 00:00+00'"),
        n=("bigint", "5"), u=("varchar", "'a'"),
    )  # fmt: skip
    with found.build_training_set("late", LABELS) as built:
        built.to_parquet(tmp_path / "set.parquet")
    lock = tmp_path / "set.lock.json"
    store_url = f"sqlite:///{tmp_path / 'online.db'}"
    with closing(open_store(store_url)) as store:
        found.export(store=store)
    with FeatureClient.connect(store_url, lock=lock) as client:
        assert client.lookup("late", {"tailnum": "N1"}).to_dict()["legs__f"] == 0.5
    old = _locked(lock, f="float64", i="int128", t="timestamptz", n="int32", u="json")
    assert read_lock(old).joins[0].columns["legs__f"].source_type == "float64"
    with pytest.raises(StoredSchemaMismatch) as caught:
        FeatureClient.connect(store_url, lock=old)
    told = [line.strip() for line in caught.value.problems[0].where.splitlines()]
    assert told == [
        "legs__f: trained on float64, served as float32",
        "legs__i: trained on int128, served as int64",
        "legs__t: trained on timestamptz, served as timestamp",
    ]


@pytest.mark.parametrize(
    ("stored", "is_refused"), [("DOUBLE", True), ("VARCHAR", True), ("FLOAT", False), (None, False)]
)
def test_a_dbt_model_is_refused_where_the_catalog_has_another_type(
    tmp_path: Path, stored: str | None, is_refused: bool
) -> None:
    """Its query can't check values, so there the types must be the same."""
    labels = made.model(
        name="labels", columns={"at": made.column("timestamp")}, drop=("arr_delay", "landed_at"), node={"config": {}}
    )
    labels["columns"]["tailnum"]["config"] = labels["columns"]["tailnum"]["meta"] = {}
    found = layer(
        tmp_path,
        made.model(columns={"x": made.column("float")}, drop=("arr_delay",)),
        labels,
        exposures=(made.exposure("legs.*", label_timestamp="at"),),
    )
    if stored is not None:
        columns = {"X": {"name": "X", "type": stored, "index": 1}}
        document = {"metadata": {}, "nodes": {"model.shop.legs": {"columns": columns}}}
        (tmp_path / "target" / "catalog.json").write_text(json.dumps(document))
    if not is_refused:
        assert found.dbt_models("late", "labels")[0].text
        return
    with pytest.raises(PlanError) as caught:
        found.dbt_models("late", "labels")
    (problem,) = caught.value.problems
    assert problem.what == (
        f"legs: feature 'x' is {stored.lower()} in catalog.json, declared float32, "
        "and a dbt model can't check that every value fits"
    )
