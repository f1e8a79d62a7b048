"""BigQuery is asked by dry runs and runs nothing: tried on a client that answers as Google's documentation says."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from featurelayer.cli import main
from featurelayer.errors import ConfigError, LabelError
from featurelayer.layer import FeatureLayer
from featurelayer.model import DType, Kind
from featurelayer.warehouse.dbt_adapter import session
from featurelayer.warehouse.dbt_adapter import warehouse as adapter
from featurelayer.warehouse.engines import bigquery
from featurelayer.warehouse.engines.bigquery import columns_of
from tests.unit import dbt_projects as made
from tests.unit.test_reproduce import LABELS

TARGET = {"type": "bigquery", "method": "oauth", "project": "shop", "schema": "marts"}


def field(name: str, kind: str, mode: str = "NULLABLE", **sizes: int) -> SimpleNamespace:
    return SimpleNamespace(name=name, field_type=kind, mode=mode, **{"precision": None, "scale": None, **sizes})


RELATIONS = {
    "`shop`.`marts`.`legs`": [
        field("tailnum", "STRING"), field("landed_at", "DATETIME"), field("arr_delay", "FLOAT"),
    ],
    "`shop`.`marts`.`labels`": [field("tailnum", "STRING"), field("at", "TIMESTAMP"), field("y", "INTEGER")],
}  # fmt: skip


class Client:
    """Google's client, of which one method is called."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def query(self, sql: str, *, job_config: str) -> SimpleNamespace:
        assert job_config == "dry"
        self.asked.append(sql)
        found = [name for name in RELATIONS if sql == f"SELECT * FROM {name} WHERE 1 = 0" or sql.endswith(name)]
        read = [name for name in RELATIONS if name in sql]
        if not read:
            from dbt_common.exceptions import DbtDatabaseError

            raise DbtDatabaseError("Not found: Table")
        tables = [SimpleNamespace(**dict(zip(("project", "dataset_id", "table_id"), name.replace("`", "").split("."),
                                             strict=True))) for name in read]  # fmt: skip
        schema = RELATIONS[found[0]] if found else []
        return SimpleNamespace(schema=schema, total_bytes_processed=3 * 1024**3, referenced_tables=tables)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    found = Client()
    connections = SimpleNamespace(exception_handler=lambda _: nullcontext())
    driver = SimpleNamespace(connections=connections, cleanup_connections=lambda: None)
    monkeypatch.setattr(session, "_open_connection", lambda _: (driver, found))
    monkeypatch.setattr(session.AdapterSession, "engine", "bigquery")
    monkeypatch.setattr(bigquery, "_dry", lambda: "dry")
    monkeypatch.setattr(adapter, "is_installed", lambda kind: kind == "bigquery")
    return found


@pytest.fixture
def shop(client: Client, tmp_path: Path) -> FeatureLayer:
    node = made.model(node={"relation_name": "`shop`.`marts`.`legs`"})
    service = made.exposure("legs.arr_delay", label_timestamp="at")
    made.project(tmp_path, made.manifest(node, exposures=(service,), adapter="bigquery"))
    (tmp_path / "profiles.yml").write_text(json.dumps({"shop": {"target": "dev", "outputs": {"dev": TARGET}}}))
    return FeatureLayer(tmp_path, profiles_dir=tmp_path)


def test_a_plan_tells_bytes_and_money(
    shop: FeatureLayer, client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = shop.plan_training_set("late", "shop.marts.labels")
    assert [each.relation for each in plan.relations] == ["shop.marts.legs", "shop.marts.labels"]
    assert plan.bytes == 3 * 1024**3
    assert plan.how == "a dry run; on demand, at 6.25 USD per TiB as in the US, about 0.0183 USD"
    assert "ROW_NUMBER()" in client.asked[-1]
    root = str(tmp_path)
    assert main(["build-training-set", "--project-dir", root, "--profiles-dir", root, "--service", "late",
                 "--labels", "shop.marts.labels", "--plan"]) == 0  # fmt: skip
    assert "about 0.0183 USD" in capsys.readouterr().out


def test_what_it_does_not_do_is_said(shop: FeatureLayer) -> None:
    with pytest.raises(ConfigError, match="its client has no cursor"):
        shop.build_training_set("late", "shop.marts.labels")
    with pytest.raises(LabelError, match="can't be brought to bigquery"):
        shop.plan_training_set("late", LABELS)
    with pytest.raises(LabelError, match=r"there are no labels 'shop\.marts\.nothing'"):
        shop.plan_training_set("late", "shop.marts.nothing")


def test_columns_are_of_types_of_ours() -> None:
    described = [
        field("i", "INTEGER"), field("f", "FLOAT64"), field("b", "BOOLEAN"), field("d", "DATETIME"),
        field("t", "TIMESTAMP"), field("n", "NUMERIC"), field("m", "NUMERIC", precision=12, scale=2),
        field("w", "BIGNUMERIC"), field("l", "FLOAT", "REPEATED"), field("r", "RECORD"), field("j", "JSON"),
        field("g", "GEOGRAPHY"),
    ]  # fmt: skip
    assert {column.name: str(column.dtype) for column in columns_of(described)} == {
        "i": "int64", "f": "float64", "b": "bool", "d": "timestamp", "t": "timestamptz", "n": "decimal(38,9)",
        "m": "decimal(12,2)", "w": "decimal(76,38)", "l": "array<float64>", "r": str(DType(kind=Kind.STRUCT)),
        "j": "json", "g": str(DType(kind=Kind.UNKNOWN)),
    }  # fmt: skip
