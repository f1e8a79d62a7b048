"""What an export says before it writes anything."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from featurelayer.errors import PlanError
from featurelayer.online import FeatureClient, MemoryStore
from tests.unit import dbt_projects as made
from tests.unit.warehouses import layer


def test_every_relation_that_is_not_built_is_named_at_once(tmp_path: Path) -> None:
    nodes = [made.model(name=name, online=True, ttl="1 day") for name in ("legs", "more")]
    exposures = (made.exposure("legs.arr_delay", label_timestamp="at"),)
    found, store = layer(tmp_path, *nodes, exposures=exposures, sql="SELECT 1"), MemoryStore()
    with pytest.raises(PlanError) as caught:
        found.export(store=store)
    assert [problem.fix for problem in caught.value.problems] == ["run `dbt build -s legs`", "run `dbt build -s more`"]
    with FeatureClient(store) as client:
        assert client.services() == []


def test_a_view_that_is_not_online_and_a_time_to_come_are_refused(tmp_path: Path) -> None:
    found = layer(tmp_path)
    with pytest.raises(PlanError, match="legs is not online"):
        found.export(["legs"], store=MemoryStore())
    with pytest.raises(PlanError, match="no feature view is online"):
        found.export(store=MemoryStore())
    online = layer(tmp_path / "other", made.model(online=True, ttl="1 day"))
    with pytest.raises(PlanError, match="is in the future"):
        online.export(as_of=datetime.now(UTC) + timedelta(days=1), store=MemoryStore())
