"""A first load by an import: moto has S3 and runs ImportTable, a stub of its client says what moto does not."""

from __future__ import annotations

import gzip
import json
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import boto3
import duckdb
import pytest
import yaml

from featurelayer.cli import main
from featurelayer.errors import ConfigError, OnlineStoreError, PlanError
from featurelayer.export import ImportSender, ViewExport
from featurelayer.layer import FeatureLayer
from featurelayer.online import FeatureClient, MemoryStore
from featurelayer.online.stores.dynamodb import s3_import as imports
from featurelayer.online.stores.dynamodb.attribute_values import decode_item
from featurelayer.online.stores.dynamodb.s3_import import (
    ImportFiles,
    import_files,
    read_import_location,
    upload_items,
)
from featurelayer.online.stores.dynamodb.store import DynamoDBStore
from tests.exporting import export_view, exporter_of, intend, snapshot_of, warehouse_of
from tests.online_cases import PLANE_LEGS, legs_batch
from tests.servers.faults import Drop, FaultProxy, Refuse
from tests.servers.imports import as_aws_imports
from tests.unit import dbt_projects as made
from tests.unit.warehouses import LEGS, layer

pytestmark = pytest.mark.slow

AT = datetime(2024, 1, 1, 13, tzinfo=UTC)
KEYS = [{"tailnum": name} for name in ("N1", "N2", "'; DROP TABLE legs; --", "nobody")]
WHERE = "featurelayer.yml -> online_store.dev"


@pytest.fixture(autouse=True)
def ended(monkeypatch: pytest.MonkeyPatch, proxy: FaultProxy) -> threading.Event:
    return as_aws_imports(monkeypatch, proxy)


@pytest.fixture
def s3(moto_endpoint: str) -> Iterator[Any]:
    with closing(boto3.client("s3", endpoint_url=moto_endpoint, region_name="eu-west-1")) as client:
        yield client


@pytest.fixture
def bucket(s3: Any) -> str:
    name = f"bulk-{uuid.uuid4().hex}"
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return name


@pytest.fixture
def proxy(moto_endpoint: str) -> Iterator[FaultProxy]:
    with FaultProxy(moto_endpoint) as running:
        yield running


@pytest.fixture
def project(tmp_path: Path, proxy: FaultProxy, moto_endpoint: str, bucket: str) -> FeatureLayer:
    """Two views and a service of both, with a store that is not there yet."""
    views = [made.model(name=name, online=True, ttl="1 day") for name in ("legs", "more")]
    both = tuple(each["unique_id"] for each in views)
    exposures = (made.exposure("legs.arr_delay", "more.arr_delay", label_timestamp="at", depends_on=both),)
    layer(tmp_path, *views, exposures=exposures, sql=f"{LEGS}; CREATE TABLE more AS FROM legs")
    entry = {"type": "dynamodb", "table": f"bulk-{uuid.uuid4().hex}", "region": "eu-west-1", "timeout": 20,
             "endpoint_url": proxy.url, "tags": {"team": "growth"}, "point_in_time_recovery": True,
             "bulk": {"bucket": bucket, "prefix": "loads/prod", "endpoint_url": moto_endpoint}}  # fmt: skip
    other = {**entry, "table": f"rows-{uuid.uuid4().hex}"}
    stores = {"online_store": {"dev": entry, "rows": other}}
    (tmp_path / "featurelayer.yml").write_text(yaml.safe_dump({"entities": made.ENTITIES, **stores}))
    return FeatureLayer(tmp_path, profiles_dir=tmp_path)


def rows_of(url: str) -> list[Any]:
    with FeatureClient.connect(url) as client:
        return [
            [(name, value.value, value.status, value.event_time) for name, value in sorted(found.features.items())]
            for found in client.lookup_many("late", KEYS, now=AT, consistent=True, deadline=None)
        ]


def objects(s3: Any, bucket: str) -> list[str]:
    return [each["Key"] for each in s3.list_objects_v2(Bucket=bucket).get("Contents", ())]


def lines(s3: Any, bucket: str) -> list[dict[str, Any]]:
    return [
        json.loads(line)["Item"]
        for key in objects(s3, bucket)
        for line in gzip.decompress(s3.get_object(Bucket=bucket, Key=key)["Body"].read()).splitlines()
    ]


def row_by_row(project: FeatureLayer) -> str:
    """The same project exported the ordinary way to another table; returns its address."""
    path = project.project.root / "featurelayer.yml"
    document = yaml.safe_load(path.read_text())
    document["online_store"]["dev"] = document["online_store"].pop("rows")
    path.write_text(yaml.safe_dump(document))
    other = FeatureLayer(project.project.root, profiles_dir=project.project.root)
    other.online.create()
    other.export(as_of=AT)
    return other.online.url


def test_what_is_imported_is_what_an_export_writes(project, s3, bucket, proxy):
    told = []
    report = project.export(as_of=AT, bulk=True, progress=lambda *line: told.append(line))
    assert [(view.view, view.rows, view.written, view.units) for view in report.views] == [
        ("legs", 3, 3, 0), ("more", 3, 3, 0),
    ]  # fmt: skip
    assert report.path.startswith(f"ImportTable from s3://{bucket}/loads/prod/bulk-")
    (request,) = [call.request for call in proxy.calls if call.operation == "ImportTable"]
    (key,) = objects(s3, bucket)
    assert request == {
        "ClientToken": report.views[0].run,
        "S3BucketSource": {"S3Bucket": bucket, "S3KeyPrefix": key.removesuffix("000000.json.gz")},
        "InputFormat": "DYNAMODB_JSON",
        "InputCompressionType": "GZIP",
        "TableCreationParameters": {
            "TableName": project.online.url.split("//")[1].split("?")[0],
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            "AttributeDefinitions": [
                {"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "sk", "AttributeType": "S"},
            ],
            "BillingMode": "PAY_PER_REQUEST",
        },
    }  # fmt: skip
    assert report.views[0].run in key
    assert {name for name, _, _ in told} >= {"legs to S3", "more to S3"}

    facts = project.store_status().store
    assert facts["ttl"] == {"status": "ENABLED", "attribute": "ttl"}
    assert facts["tags"] == {"created-by": "featurelayer", "team": "growth"}
    assert (facts["point_in_time_recovery"], facts["deletion_protection"]) == ("ENABLED", True)
    served = rows_of(project.online.url)
    assert [feature[2] for row in served for feature in row[:1]] == ["null", "present", "present", "missing"]

    again = project.export(as_of=AT)
    assert [(view.written, view.unchanged, view.tombstones) for view in again.views] == [(0, 3, 0)] * 2
    assert len(project.kept_exports("legs")) == 2
    assert rows_of(row_by_row(project)) == served


def test_the_files_put_item_by_item_serve_the_same(project, s3, bucket, moto_endpoint):
    """The files hold what they should, whatever an import does with them."""
    project.export(as_of=AT, bulk=True)
    reference = rows_of(project.online.url)
    items = [decode_item(line) for line in lines(s3, bucket)]
    assert len({item.key for item in items}) == len(items)
    with closing(DynamoDBStore(f"put-{uuid.uuid4().hex}", region="eu-west-1", endpoint_url=moto_endpoint)) as put:
        put.create()
        put.write(items)
        with closing(DynamoDBStore(project.online.url.split("//")[1].split("?")[0], region="eu-west-1",
                                   endpoint_url=moto_endpoint, timeout=20)) as there:  # fmt: skip
            keys = [item.key for item in items]
            assert put.read(keys) == there.read(keys) == {item.key: item for item in items}
    assert reference[0][0][2] == "null"


def test_many_rows_go_in_parts_out_of_order(project, s3, bucket, monkeypatch, tmp_path):
    with duckdb.connect(str(tmp_path / "db.duckdb")) as connection:
        connection.execute(
            "INSERT INTO legs SELECT 'M' || lpad(i::TEXT, 5, '0'), TIMESTAMP '2024-01-01 10:00', i FROM range(500) t(i)"
        )
    plan = project.plan_export(as_of=AT, bulk=True)
    monkeypatch.setattr(imports.upload_items, "__kwdefaults__", {"part_bytes": 20_000})
    project.export(as_of=AT, bulk=True)
    keys, found = objects(s3, bucket), lines(s3, bucket)
    assert [key.rsplit("/")[-1] for key in keys] == [f"{number:06}.json.gz" for number in range(len(keys))]
    sizes = [len(gzip.decompress(s3.get_object(Bucket=bucket, Key=key)["Body"].read())) for key in keys]
    assert len(sizes) > 5
    assert max(sizes) < 21_000
    pks = [line["pk"]["S"] for line in found if line["sk"]["S"].startswith("legs") and "plane" in line["pk"]["S"]]
    assert len(pks) == len(set(pks)) == 503
    assert pks != sorted(pks)
    neighbours = sum(after > before for before, after in pairwise(pks))
    assert 150 < neighbours < 350, "keys that are alike should be far from each other"
    assert plan.import_bytes == pytest.approx(sum(sizes), rel=0.1)
    assert plan.import_usd == pytest.approx(plan.import_bytes * 0.15 / 1e9)


# --- refused before anything happens ---------------------------------------------------------------------------------


def test_only_a_table_that_does_not_exist_is_imported_and_as_a_whole(project, proxy, s3, bucket, tmp_path):
    with pytest.raises(PlanError, match="some were named"):
        project.export(["legs"], bulk=True)
    with pytest.raises(PlanError, match=r"would cost about .* allowed"):
        project.export(as_of=AT, bulk=True, max_cost=0.0)
    project.online.create()
    with pytest.raises(PlanError, match="exists already") as caught:
        project.export(as_of=AT, bulk=True)
    assert caught.value.problems[0].fix == "export without --bulk"
    assert "ImportTable" not in {call.operation for call in proxy.calls}
    assert objects(s3, bucket) == []
    with duckdb.connect(str(tmp_path / "db.duckdb")) as connection:
        assert (
            connection.execute("SELECT table_name FROM duckdb_tables() WHERE table_name LIKE 'feature%'").fetchall()
            == []
        )


def test_where_the_files_go_is_checked():
    with pytest.raises(ConfigError) as caught:
        read_import_location(
            {"type": "dynamodb", "bulk": {"bukket": "a", "prefix": "s3://x", "bucket": "S3://b"}}, WHERE
        )
    text = str(caught.value)
    for part in ("did you mean 'bucket'", "not a valid bucket name", "not a valid S3 key prefix", f"{WHERE}.bulk"):
        assert part in text
    with pytest.raises(ConfigError, match="has no `bulk`, the place for the files of an import"):
        read_import_location({"type": "dynamodb"}, WHERE)
    with pytest.raises(ConfigError, match="'bulck' meant"):
        read_import_location({"type": "dynamodb", "bulck": {"bucket": "abc"}}, WHERE)
    with pytest.raises(ConfigError, match="not a mapping"):
        read_import_location({"type": "dynamodb", "bulk": "bucket"}, WHERE)
    with pytest.raises(ConfigError, match="`bucket` is missing"):
        read_import_location({"type": "dynamodb", "bulk": {"prefix": "x"}}, WHERE)
    with pytest.raises(ConfigError, match="only a store of type dynamodb"):
        read_import_location({"type": "sqlite", "bulk": {"bucket": "abc"}}, WHERE)
    assert (
        read_import_location({"type": "dynamodb", "bulk": {"bucket": "abc", "prefix": "/a/b/"}}, WHERE).prefix == "a/b"
    )


# --- a plan ----------------------------------------------------------------------------------------------------------


def command(project: FeatureLayer, *arguments: str) -> list[str]:
    here = ["--project-dir", str(project.project.root), "--profiles-dir", str(project.project.root)]
    return ["export", "--as-of", "2024-01-01T13:00:00", *arguments, *here]


def test_a_plan_has_both_prices_and_says_when_an_import_is_cheaper(project, capsys, proxy, s3, bucket):
    assert main(command(project, "--plan", "--bulk")) == 0
    out = capsys.readouterr().out
    assert "row by row about 0.0000 USD\nby import about 0.0000 USD for 0.0 MB of files (prices of us-east-1" in out
    assert {call.operation for call in proxy.calls}.isdisjoint({"ImportTable", "CreateTable", "PutItem"})
    assert objects(s3, bucket) == []
    project.online.create()
    assert main(command(project, "--plan")) == 0
    assert "--bulk, into a table that does not exist yet, would cost about 0.0000 USD" in capsys.readouterr().out
    project.export(as_of=AT)
    assert main(command(project, "--plan")) == 0
    assert "--bulk" not in capsys.readouterr().out


def test_the_command_says_where_the_files_are(project, capsys, bucket):
    assert main(command(project, "--bulk", "--format", "json")) == 0
    done = capsys.readouterr()
    assert json.loads(done.out)["path"] in done.err
    assert "the files are yours to delete" in done.err
    assert main(command(project, "--bulk")) == 1
    assert "export without --bulk" in capsys.readouterr().err


# --- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("operation", "before", "resumed"), [
    ("ImportTable", 0, [3, 3]), ("DescribeImport", 0, [3, 3]), ("TagResource", 0, [3, 3]),
    ("BatchGetItem", 0, [3, 3]), ("BatchGetItem", 1, [0, 3]),
])  # fmt: skip
def test_after_a_run_that_died_an_ordinary_export_finishes_the_work(project, proxy, ended, operation, before, resumed):
    """The last two die at the commit of the first view, and of the second."""
    proxy.script(*[None] * before, *[Refuse("AccessDeniedException")] * 9, operation=operation)
    with pytest.raises(OnlineStoreError, match="AccessDenied"):
        project.export(as_of=AT, bulk=True)
    proxy.script(operation=operation)
    assert operation == "ImportTable" or ended.wait(30)
    # Tags are what the operator's role brings; an import that was cut off before them left a table that is nobody's.
    name = project.online.url.split("//")[1].split("?")[0]
    with closing(boto3.client("dynamodb", endpoint_url=proxy.url, region_name="eu-west-1")) as client:
        pages = client.get_paginator("list_tables").paginate()  # a hundred at a time, and the server is shared
        tables = [table for page in pages for table in page["TableNames"]]
        if name in tables:
            arn = client.describe_table(TableName=name)["Table"]["TableArn"]
            client.tag_resource(ResourceArn=arn, Tags=[{"Key": "created-by", "Value": "featurelayer"}])
    assert (name in tables) == (operation != "ImportTable")
    project.online.create()
    report = project.export(as_of=AT)
    assert [view.resumed for view in report.views] == resumed
    assert rows_of(project.online.url) == rows_of(row_by_row(project))


def test_a_load_that_a_newer_export_overtook_commits_nothing():
    """The newer one finds what was loaded in doubt, and writes it again."""
    store = MemoryStore()
    older = exporter_of(store, sender=ImportSender(lambda *parts: loader(*parts)))
    intent = intend(older, store, snapshot_of(PLANE_LEGS, [legs_batch([("N1", AT, 1.0, 1), ("N2", AT, 1.0, 1)])], AT))
    newer: list[ViewExport] = []

    def loader(_sk: str, batches: Iterator[Any], _run: str) -> Any:
        for batch in batches:
            store.write(batch)
        rows, later = [("N1", AT, 2.0, 1)], intent.row.version + 1
        newer.append(export_view(store, PLANE_LEGS, [legs_batch(rows)], as_of=AT + timedelta(hours=1), version=later))

    done = older.finish(intent)
    assert (done.superseded, done.written, newer[0].resumed, newer[0].tombstones) == (True, 2, 1, 1)
    with closing(warehouse_of(store)) as warehouse:
        assert [row.run for row in exporter_of(store).list_restore_points(warehouse, PLANE_LEGS)] == [newer[0].run]


def test_a_call_whose_answer_is_lost_starts_no_second_import(project, proxy):
    proxy.script(Drop(applied=False), operation="ImportTable")
    project.export(as_of=AT, bulk=True)
    tokens = {call.request["ClientToken"] for call in proxy.calls if call.operation == "ImportTable"}
    assert len(tokens) == 1


def test_a_bucket_that_is_not_there_is_named_and_nothing_is_imported(project, proxy, s3, bucket):
    s3.delete_bucket(Bucket=bucket)
    with pytest.raises(OnlineStoreError, match=rf"s3://{bucket}/loads/prod/.*NoSuchBucket"):
        project.export(as_of=AT, bulk=True)
    assert "ImportTable" not in {call.operation for call in proxy.calls}


class Import:
    """The two calls of an import, answered from a list."""

    def __init__(self, *states: dict[str, Any]) -> None:
        self.states, self.asked = [{"ImportArn": "arn:import", **state} for state in states], 0

    def __call__(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        if operation == "DescribeImport":
            self.asked += 1
            assert request == {"ImportArn": "arn:import"}
        else:
            assert operation == "ImportTable"
        return {"ImportTableDescription": self.states[self.asked]}


FILES = ImportFiles(bucket="abc", prefix="p/", items=10, bytes=100, parts=1)
BUSY, DONE = {"ImportStatus": "IN_PROGRESS"}, {"ImportStatus": "COMPLETED", "ImportedItemCount": 10, "ErrorCount": 0}


def run_import(call: Import, told: list[tuple[str, int, int]]) -> dict[str, Any]:
    return import_files(call, "t", FILES, "token", lambda *line: told.append(line), lambda _s: None)


def test_an_import_is_waited_for_with_its_progress():
    told: list[tuple[str, int, int]] = []
    found = run_import(Import(BUSY, {**BUSY, "ImportedItemCount": 4}, BUSY, DONE), told)
    assert told == [("importing into t", count, 10) for count in (4, 4, 10)]
    imports.validate_complete("t", FILES, found)


@pytest.mark.parametrize("state", ["FAILED", "CANCELLED", "CANCELLING"])
def test_an_import_that_fails_says_what_aws_says(state):
    ended = {"ImportStatus": state, "FailureCode": "S3AccessDenied", "FailureMessage": "no way", "ImportedItemCount": 3,
             "ErrorCount": 2}  # fmt: skip
    with pytest.raises(OnlineStoreError, match=f"{state}: S3AccessDenied no way; 3 of 10 items .* 2 had errors"):
        run_import(Import(BUSY, ended), [])


@pytest.mark.parametrize("ended", [{"ImportedItemCount": 9}, {"ErrorCount": 1}, {"ImportedItemCount": 11}])
def test_an_import_that_took_less_or_more_than_was_sent_is_an_error(ended):
    with pytest.raises(OnlineStoreError, match="without --bulk"):
        imports.validate_complete("t", FILES, run_import(Import({**DONE, **ended}), []))


def test_a_part_is_gone_from_this_disk_when_the_next_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    seen: list[int] = []

    class Taker:
        def upload_file(self, path: str, bucket: str, key: str) -> None:
            seen.append(len(list(tmp_path.rglob("*.gz"))))

    rows = ({"pk": {"S": str(number)}} for number in range(100))
    files = upload_items(Taker(), imports.ImportLocation(bucket="abc"), "run", rows, part_bytes=500)
    assert seen == [1] * files.parts
    assert (files.items, files.parts > 3, files.prefix) == (100, True, "featurelayer/run/")
    assert list(tmp_path.iterdir()) == []
