"""The network in real time: `FeatureLayer.export` of a DuckDB file to DynamoDB Local while nobody answers for a while.

An outage begins at any call of the run, also in the middle of a batch. One that is shorter than patience is waited for;
a longer one ends the run with an error, and the next run finishes the work. Readers find every key all the time.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import pytest

from featurelayer.errors import StoreThrottled, StoreUnavailable
from featurelayer.export import ViewExport, lease
from featurelayer.layer import FeatureLayer
from featurelayer.online.stores.dynamodb import http_transport
from featurelayer.online.stores.dynamodb.store import DynamoDBStore
from featurelayer.retry import Backoff
from tests.servers.faults import FaultProxy, Refuse
from tests.unit import dbt_projects as made
from tests.unit.dbt_projects import ENTITIES
from tests.unit.warehouses import layer

ROWS = 600
MAKE = f"""
CREATE TABLE legs AS SELECT 'N' || i AS tailnum, TIMESTAMP '2024-01-01 10:00' AS landed_at, i::DOUBLE AS arr_delay
FROM range({ROWS}) t(i)
"""
KEYS = [(f'plane["N{number}"]', "legs@0") for number in range(ROWS)]
THROTTLED = Refuse("ProvisionedThroughputExceededException")


class Outage:
    """Begins with a call of the run that is counted from its first write on, and ends after `seconds`."""

    def __init__(self, proxy: FaultProxy, at: int, seconds: float, *, throttled: bool) -> None:
        self.proxy, self.at, self.seconds, self.throttled = proxy, at, seconds, throttled
        self.begun = threading.Event()
        self._write_part, self._ended = False, threading.Event()
        proxy.plan = self._count
        self._thread = threading.Thread(target=self._happen)
        self._thread.start()

    def _count(self, operation: str) -> None:
        self._write_part |= operation == "PutItem"
        self.at -= self._write_part
        if self.at == 0:
            self.begun.set()

    def _happen(self) -> None:
        self.begun.wait(60)
        if self.throttled:
            self.proxy.always(THROTTLED)
        else:
            self.proxy.cut()
        self._ended.wait(self.seconds)
        if self.throttled:
            self.proxy.pass_all()
        else:
            self.proxy.mend()

    def end(self) -> None:
        """End it now, if it has not ended."""
        self.begun.set()
        self._ended.set()
        self._thread.join()


class World:
    """A project, its table, and the way to it that fails."""

    def __init__(self, root: Path, proxy: FaultProxy, direct: DynamoDBStore) -> None:
        self.root, self.proxy, self.direct = root, proxy, direct

    def export(self, endpoint_url: str = "", **options: Any) -> ViewExport:
        """Export as `featurelayer export` does, through the proxy unless another way is named."""
        entry = {"type": "dynamodb", "table": self.direct.table, "region": "eu-west-1"}
        entry |= {"endpoint_url": endpoint_url or self.proxy.url, **options}
        (self.root / "featurelayer.yml").write_text(json.dumps({"entities": ENTITIES, "online_store": {"dev": entry}}))
        return FeatureLayer(self.root, profiles_dir=self.root).export().views[0]

    def change(self, number: int) -> None:
        """Give every row a new value and a later event."""
        with duckdb.connect(str(self.root / "db.duckdb")) as database:
            database.execute(f"UPDATE legs SET arr_delay = {number}, landed_at = landed_at + INTERVAL 1 HOUR")

    def stored(self) -> set[float]:
        """Return the values of all keys, none of which is missing."""
        found = self.direct.read(KEYS, consistent=True)
        assert set(found) == set(KEYS)
        return {json.loads(item.f)[0] for item in found.values()}


@pytest.fixture
def world(dynamodb_local_endpoint, tmp_path) -> Iterator[World]:
    layer(tmp_path, made.model(online=True, ttl="10000 days"), sql=MAKE)
    where = {"region": "eu-west-1", "endpoint_url": dynamodb_local_endpoint, "timeout": 10}
    with (
        FaultProxy(dynamodb_local_endpoint) as proxy,
        closing(DynamoDBStore(f"network-{uuid4().hex[:8]}", **where)) as direct,
    ):
        direct.create()
        exports = World(tmp_path, proxy, direct)
        assert exports.export(dynamodb_local_endpoint).written == ROWS
        yield exports


@pytest.fixture
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pause between two attempts is short."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.02)
    monkeypatch.setattr(http_transport, "_PAUSE", 0.01)
    monkeypatch.setattr(Backoff, "next_pause", lambda _self: 0.02)
    monkeypatch.setattr(lease, "_LOOK_AGAIN", 0.05)
    monkeypatch.setattr(lease, "LEASE", timedelta(seconds=1))


# The second call is one by which runs know of each other, the fourteenth is a batch.
@pytest.mark.parametrize(("transport", "throttled", "at"), [
    ("boto3", True, 14), ("boto3", False, 2), ("http", True, 2), ("http", False, 14),
])  # fmt: skip
@pytest.mark.usefixtures("in_a_hurry")
def test_an_outage_that_patience_outlasts_is_waited_for(world, transport, throttled, at):
    world.change(1)
    outage = Outage(world.proxy, at, 0.8, throttled=throttled)
    try:
        done = world.export(transport=transport, patience=30)
        assert outage.begun.is_set()
    finally:
        outage.end()
    assert (done.written, done.refused, done.superseded) == (ROWS, 0, False)
    assert world.stored() == {1.0}
    assert world.export(transport=transport).written == 0


@pytest.mark.parametrize("throttled", [True, False], ids=["throttled", "cut"])
@pytest.mark.parametrize("at", [2, 14])
@pytest.mark.usefixtures("in_a_hurry")
def test_an_outage_that_outlasts_patience_is_an_error_and_the_next_run_finishes(world, throttled, at):
    world.change(1)
    outage = Outage(world.proxy, at, 60, throttled=throttled)
    try:
        with pytest.raises(StoreThrottled if throttled else StoreUnavailable):
            world.export(transport="http", patience=1.5)
        assert outage.begun.is_set()
        assert world.stored() <= {1.0, *map(float, range(ROWS))}
    finally:
        outage.end()
    world.change(2)
    done = world.export(transport="http")
    assert (done.written, done.resumed) == (ROWS, ROWS)
    assert world.stored() == {2.0}


@pytest.mark.parametrize("throttled", [True, False], ids=["throttled", "cut"])
def test_an_outage_of_half_a_minute_by_the_settings_that_users_have(world, throttled):
    world.change(1)
    began = time.monotonic()
    outage = Outage(world.proxy, 8, 30, throttled=throttled)
    try:
        done = world.export()
    finally:
        outage.end()
    assert time.monotonic() - began > 30
    assert (done.written, done.refused) == (ROWS, 0)
    assert world.stored() == {1.0}
