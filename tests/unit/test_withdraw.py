"""What an overtaken run takes back, from a store whose plain reads lag behind."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from featurelayer.export.compensation import compensate
from featurelayer.online import Item, MemoryStore
from featurelayer.online.base import ItemKey
from featurelayer.online.definitions import ViewCommit, commit_key
from tests.exporting import exporter_of, intend, snapshot_of
from tests.online_cases import PLANE_LEGS, legs_batch, micros

T = datetime(2026, 11, 1, 12, tzinfo=UTC)
SK = "plane_legs@0"
PK = 'plane["N1"]'


class Lagging(MemoryStore):
    """A store in which a read that is not consistent finds what was there before anything was written."""

    def read(self, keys: Collection[ItemKey], *, consistent: bool = False, **how: Any) -> dict[ItemKey, Item]:
        return super().read(keys, consistent=True, **how) if consistent else {}


@pytest.mark.parametrize("has_newer", [True, False])
def test_what_the_run_left_is_replaced_although_plain_reads_lag(has_newer: bool) -> None:
    store = Lagging()
    intent = intend(exporter_of(store), store, snapshot_of(PLANE_LEGS, [legs_batch([("N1", T, 1.0, 1)])], T))
    version = intent.row.version
    newer = version + 5
    left = Item(pk=PK, sk=SK, version=version, f="[1.0,1]", event_time=micros(T))
    commit = ViewCommit(
        version=newer, as_of=micros(T + timedelta(hours=1)), source_time=None, schema="s", rows=1, finished=newer
    )
    store.write([left, commit.item(SK)])
    better = Item(pk=PK, sk=SK, version=newer, f="[2.0,2]", event_time=micros(T))
    asked: list[int] = []

    def instead(found: ViewCommit, pks: Sequence[str]) -> Mapping[str, Item]:
        asked.append(found.version)
        return dict.fromkeys(pks, better) if has_newer else {}

    assert compensate(store, intent, [[PK]], instead, 60) == 1
    assert asked == [newer]
    (item,) = store.read([(PK, SK)], consistent=True).values()
    assert (item.f, item.deleted) == (("[2.0,2]", False) if has_newer else ("", True))
    assert commit_key(SK) in store.read([commit_key(SK)], consistent=True)
