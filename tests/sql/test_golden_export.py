"""What an export says to the engines that can't run here, for a reader to hold against their documentation.

`UPDATE_GOLDEN=1 pytest tests/sql` writes the files anew. The same statements run on DuckDB, PostgreSQL and Spark.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import pytest
import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel

from featurelayer.export.ledger import Ledger, LedgerRow, Tables
from featurelayer.sql.delta import Delta
from featurelayer.sql.dialects import dialect
from featurelayer.warehouse import schema_of
from featurelayer.warehouse.base import Warehouse
from featurelayer.warehouse.dbt_adapter.facts import facts_of
from featurelayer.warehouse.engines import available, load_engine
from tests.sql.goldens import check_golden

ENGINES_THAT_NEVER_RAN = ("redshift", "snowflake")
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
ROW = LedgerRow(
    run="r2", store="dynamodb:features", view="plane_legs", definition="d", keys='[["plane"], ["text"]]',
    dbt_invocation_id="i", version=1704110400000000, as_of=NOON, started_at=NOON, finished_at=NOON, entities=3,
    written=1, unchanged=2, refused=0, tombstones=0, bytes=80,
)  # fmt: skip


class Told:
    """Keeps what is said to a warehouse."""

    def __init__(self, kind: str) -> None:
        self.dialect = kind
        self.said: list[str] = []

    def execute(self, sql: str) -> None:
        self.said.append(sql)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        self.said.append(sql)
        return []


def statements(kind: str) -> list[str]:
    """All that an export, its end, and a rollback say, in about that order."""
    told = Told(kind)
    tables = Tables.from_schema(schema_of({"type": kind, "schema": "marts"}), "dynamodb:features")
    ledger, delta = Ledger(cast("Warehouse", told), tables), Delta(dialect(kind), tables.log("plane_legs"))
    source = exp.to_table('"__fl_frame_1"', dialect=kind)
    frame = source.sql(dialect=kind)
    ledger.create()
    ledger.rows("plane_legs")
    ledger.start([ROW])
    told.said += [
        delta.create_now(source, "d|86400000000"),
        delta.duplicate_keys(),
        delta.snapshot_stats(),
        delta.create_state(),
        delta.create_state_from_listing(frame),
        delta.create_doubt(),
        delta.create_changes(full=False, alive_since=1704024000000000),
        delta.count_changes(),
        delta.sizes(source, 60),
        *delta.log_changes(source, run="r2", version=ROW.version, schema="d"),
        delta.sizes_in_log("r2", 60),
        delta.too_large_in_log("r2", 60, item=409_600, key=2_048),
        delta.too_large(source, 60, item=409_600, key=2_048),
        delta.count_removals(alive_since=1704024000000000, keys=ROW.keys),
        delta.items_to_write("r2", "changed"),
        delta.newest_items(frame, ROW.version),
        delta.mark_refused("r2", frame),
    ]
    ledger.finish(ROW)
    told.said += [
        *delta.prune(keep_since=1704024000000000, committed=ROW.version, garbage=1702900800000000),
        delta.create_rollback_changes(until=1704024000000000), delta.stats_at(1704024000000000),
        *delta.log_rollback(until=1704024000000000, run="r3", version=ROW.version + 1),
    ]  # fmt: skip
    return told.said


@pytest.mark.parametrize("kind", ENGINES_THAT_NEVER_RAN)
def test_golden_export(kind: str) -> None:
    check_golden(";\n\n".join(statements(kind)) + ";\n", f"{kind}/export")


@pytest.mark.parametrize("kind", ENGINES_THAT_NEVER_RAN)
def test_it_parses_in_its_dialect(kind: str) -> None:
    for text in statements(kind):
        parsed = sqlglot.parse_one(text, dialect=kind, error_level=ErrorLevel.RAISE)
        assert list(parsed.find_all(exp.Command)) == [], text


def test_they_are_the_engines_that_export_and_have_no_driver() -> None:
    with_transactions = {kind for kind in available() if facts_of(load_engine(kind)).transactions is not None}
    assert with_transactions == set(ENGINES_THAT_NEVER_RAN)
