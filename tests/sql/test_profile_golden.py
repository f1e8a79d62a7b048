"""The SQL of a profile, per engine, as it was last read; UPDATE_GOLDEN=1 writes it again."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import sqlglot

from featurelayer.model import Column, DType
from featurelayer.sql.dialects import available, dialect
from featurelayer.sql.profile import (
    MeasuredColumn,
    RowSource,
    Slot,
    edge_quantiles,
    measurements,
    slot_counts,
    top_values,
)
from tests.sql.goldens import check_golden

ENGINES = available()


def column(name: str, kind: str) -> Column:
    return Column(name=name, dtype=DType.parse(kind))


DAYS = [datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2, 3)]
ROWS = RowSource(
    source="legs",
    time=column("landed_at", "timestamptz"),
    slots=(Slot(ranges=((DAYS[0], DAYS[1]),)), Slot(ranges=((DAYS[1], DAYS[2]),))),
    one_in=4,
    chosen_by=("tailnum", "landed_at"),
)
DELAY = MeasuredColumn(column=column("delay", "float64"), edges=(-1.5, 0.0), centre=2.0, default=0.0, range=(None, 60))
COLUMNS = [
    DELAY,
    MeasuredColumn(column=column("late", "bool")),
    MeasuredColumn(column=column("path", "array<float32>"), edges=(3.0,)),
    MeasuredColumn(column=column("seen_at", "timestamp")),
    MeasuredColumn(column=column("carrier", "text")),
]


def script(engine: str) -> str:
    statements = [
        slot_counts(engine, ROWS),
        *(each.sql for each in edge_quantiles(engine, ROWS, [DELAY], 4)),
        *(each.sql for each in measurements(engine, ROWS, [DELAY], moments=True, shape=True)),
        *(each.sql for each in measurements(engine, ROWS, COLUMNS[1:], moments=True, shape=False)),
        top_values(engine, ROWS, COLUMNS[-1].column, 50),
    ]
    return ";\n\n".join(statements) + ";\n"


@pytest.mark.parametrize("engine", ENGINES)
def test_the_sql_is_as_it_was_read(engine: str) -> None:
    text = script(engine)
    check_golden(text, f"profile/{engine}")
    assert len(sqlglot.parse(text, dialect=engine)) >= 4


@pytest.mark.parametrize("engine", ENGINES)
def test_what_differs_can_be_written_and_read_again(engine: str) -> None:
    ways, value = dialect(engine).measures, sqlglot.column("x")
    written = [
        ways.distinct(value.copy()),
        ways.quantiles(value.copy(), (0.01, 0.5)),
        ways.ranks(value.copy(), (0.5,)),
        ways.bins(value.copy(), (1.0, 2.0)),
        ways.sample([value.copy()], 3),
        ways.length(value.copy()),
    ]
    for expression in written:
        text = expression.sql(dialect=engine)
        assert sqlglot.parse_one(text, dialect=engine).sql(dialect=engine) == text


def test_more_columns_than_an_engine_returns_are_asked_for_in_parts() -> None:
    many = [MeasuredColumn(column=column(f"c{number}", "float64"), edges=(0.0,)) for number in range(400)]
    parts = list(measurements("duckdb", ROWS, many, moments=True, shape=True))
    assert len(parts) == 3
    assert all(len(part.outputs) <= 1500 for part in parts)
    assert len({name for part in parts for name, _ in part.outputs}) == 400
