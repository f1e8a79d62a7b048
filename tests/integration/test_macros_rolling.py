"""`rolling_features` against an oracle: whatever is read at any time is the window over what was known then.

One dbt run computes many random cases at once; the case is part of the key. Each set of arguments is built twice,
in DuckDB's form and in the portable one.
"""

from __future__ import annotations

import math
import random
import re
import statistics
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from featurelayer.durations import parse_duration
from tests.integration.conftest import DbtCall, run_dbt, write_project
from tests.profiles import examples

START = datetime.fromisoformat("2026-01-01")
MICROSECOND = timedelta(microseconds=1)
WINDOWS = {"20s": timedelta(seconds=20), "1m": timedelta(minutes=1), "1m30s": timedelta(seconds=90)}
GRID = timedelta(seconds=15)
CUT = START + timedelta(seconds=150)
END = START + timedelta(seconds=420)
CASES = examples(60)

FEATURES = """{
    'events': {'agg': 'count'},
    'values': {'agg': 'count', 'of': 'x'},
    'total': {'agg': 'sum', 'of': 'x'},
    'average': {'agg': 'mean', 'of': 'x'},
    'lowest': {'agg': 'min', 'of': 'x'},
    'highest': {'agg': 'max', 'of': 'x'},
    'spread': {'agg': 'stddev', 'of': 'x'},
    'words': {'agg': 'count_distinct', 'of': 'word'},
    'big_share': {'agg': 'share', 'of': 'x >= 3'},
    'red_total': {'agg': 'sum', 'of': 'x', 'where': "word = 'red'"},
    'since_red': {'agg': 'time_since_last', 'where': "word = 'red'"},
    'last_red': {'agg': 'last_time', 'where': "word = 'red'"},
}"""
WHENS = {
    "event": "",
    "grid": "mode='grid', every='15 seconds', start='2026-01-01',",
}


@dataclass(frozen=True, slots=True)
class Event:
    at: datetime
    known: datetime
    x: int | None
    word: str | None


@dataclass(frozen=True, slots=True)
class Row:
    at: datetime
    known: datetime
    values: dict[str, Any]


def random_rows(seed: int) -> list[tuple[Any, ...]]:
    """Events of every case: ties in time and in arrival, late ones, NULL values, keys and times, two keys a case."""
    rows: list[tuple[Any, ...]] = []
    for case in range(CASES):
        chance = random.Random(seed * 1_000_003 + case)
        span = chance.choice([30, 120, 300])
        for _ in range(chance.randint(1, 14)):
            at = START + timedelta(seconds=chance.randint(0, span), microseconds=chance.choice([0, 0, 0, 1, 999_999]))
            late = chance.choice([0, 0, 0, -5, 7, 20, 45, 100])
            known = chance.choice([at, at + timedelta(seconds=late), START + timedelta(seconds=span)])
            key = chance.choice(["a", "a", "b", "b", None]) if chance.random() < 0.2 else chance.choice(["a", "b"])
            rows.append((
                case,
                key,
                None if chance.random() < 0.02 else at,
                None if chance.random() < 0.02 else known,
                chance.choice([None, 0, 1, 2, 3, 4, 10]),
                chance.choice([None, "red", "red", "blue"]),
            ))  # fmt: skip
    return rows


def rolling_model(*, form: str, when: str, late: bool, until: datetime = END) -> str:
    arguments = f"""source('raw', 'events'), ['case_id', 'k'], 'happened_at',
        ['20 seconds', '1 minute', '1 minute 30 seconds'], {FEATURES},
        {"available_at='known_at'," if late else ""} {WHENS[when]} until='{until.isoformat()}'"""
    if form == "duckdb":
        return "{{ featurelayer.rolling_features(" + arguments + ") }}"
    known = "'known_at'" if late else "none"
    rows = "'grid', '15 seconds', '2026-01-01'" if when == "grid" else "'event-driven', none, none"
    plan = f"""{{% set plan = featurelayer._rolling_plan(source('raw', 'events'), ['case_id', 'k'], 'happened_at',
        ['20 seconds', '1 minute', '1 minute 30 seconds'], {FEATURES},
        {known}, {rows},
        '{until.isoformat()}') %}}"""
    return plan + "{{ featurelayer.default__rolling_features(plan) }}"


VARIANTS = [(form, when, late) for form in ("duckdb", "default") for when in WHENS for late in (False, True)]


def name_of(form: str, when: str, late: bool) -> str:
    return f"{form}_{when}_{'late' if late else 'prompt'}"


SOURCES = "sources: [{name: raw, schema: main, tables: [{name: events}, {name: daily}]}]"
BATCHED = """{{ config(materialized='incremental', incremental_strategy='microbatch', event_time='happened_at',
    begin='2026-01-01', batch_size='day', lookback=0) }}
"""
DAYS = """{{ featurelayer.rolling_features(ref('daily_events'), 'k', 'happened_at', {'w': '36 hours'},
    {'events': {'agg': 'count'}, 'total': {'agg': 'sum', 'of': 'x'}}, available_at='known_at', until='2026-01-08') }}"""


@pytest.fixture(scope="module")
def seed() -> int:
    return random.randrange(1_000_000)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, seed: int) -> Path:
    """A project with every variant built, and its database."""
    models = {
        name_of(*variant): rolling_model(form=variant[0], when=variant[1], late=variant[2]) for variant in VARIANTS
    }
    models |= {f"cut_{when}": rolling_model(form="duckdb", when=when, late=True, until=CUT) for when in WHENS}
    models |= {
        "daily_events": "{{ config(event_time='happened_at') }} select * from {{ source('raw', 'daily') }}",
        "days_at_once": DAYS,
        "days_in_batches": BATCHED + DAYS,
    }
    folder = write_project(
        tmp_path_factory.mktemp("rolling"),
        {f"models/{name}.sql": sql for name, sql in models.items()} | {"models/sources.yml": SOURCES},
    )
    with duckdb.connect(str(folder / "db.duckdb")) as connection:
        connection.execute("""
            create table events (
                case_id integer, k varchar, happened_at timestamp, known_at timestamp, x integer, word varchar
            )
        """)
        connection.executemany("insert into events values (?, ?, ?, ?, ?, ?)", random_rows(seed))
        connection.execute("""
            create table daily as
            select 'k' || i % 2 as k, i as x, timestamp '2026-01-01' + i * interval 7 hours as happened_at,
                happened_at + case when i % 5 = 0 then interval 11 hours else interval 0 hours end as known_at
            from range(20) as numbers(i)
        """)
    run_dbt(folder, "run", "--event-time-start", "2026-01-01", "--event-time-end", "2026-01-08")
    return folder


@pytest.fixture(scope="module")
def database(project: Path) -> Any:
    with duckdb.connect(str(project / "db.duckdb"), read_only=True) as connection:
        yield connection


def events_by_key(database: Any, late: bool) -> dict[tuple[int, str], list[Event]]:
    events: dict[tuple[int, str], list[Event]] = defaultdict(list)
    for case, key, at, known, x, word in database.execute("select * from events").fetchall():
        if key is not None and at is not None and (known is not None or not late):
            events[case, key].append(Event(at, max(at, known) if late else at, x, word))
    return events


def rows_by_key(database: Any, table: str, late: bool) -> dict[tuple[int, str], list[Row]]:
    cursor = database.execute(f"select * from {table}")
    names = [column[0] for column in cursor.description]
    rows: dict[tuple[int, str], list[Row]] = defaultdict(list)
    for found in cursor.fetchall():
        values = dict(zip(names, found, strict=True))
        at = values.pop("happened_at")
        known = values.pop("known_at") if late else at
        rows[values.pop("case_id"), values.pop("k")].append(Row(at, known, values))
    return rows


def read(rows: list[Row], moment: datetime) -> Row | None:
    """The contract's rules 1 and 3, in one line."""
    return max(
        (row for row in rows if row.at <= moment and row.known <= moment),
        key=lambda row: (row.at, row.known),
        default=None,
    )


def window_values(events: list[Event], moment: datetime, as_of: datetime) -> dict[str, Any]:
    """What every column should hold: aggregates over `(moment - w, moment]` of what was known at `as_of`."""
    values: dict[str, Any] = {}
    for suffix, width in WINDOWS.items():
        inside = [event for event in events if moment - width < event.at <= moment and event.known <= as_of]
        xs = [event.x for event in inside if event.x is not None]
        reds = [event for event in inside if event.word == "red"]
        last_red = max((event.at for event in reds), default=None)
        expected = {
            "events": len(inside),
            "values": len(xs),
            "total": sum(xs),
            "average": statistics.fmean(xs) if xs else None,
            "lowest": min(xs, default=None),
            "highest": max(xs, default=None),
            "spread": statistics.stdev(xs) if len(xs) > 1 else None,
            "words": len({event.word for event in inside} - {None}),
            "big_share": statistics.fmean([event.x is not None and event.x >= 3 for event in inside])
            if inside
            else None,
            "red_total": sum(event.x for event in reds if event.x is not None),
            "since_red": (moment - last_red).total_seconds() if last_red else None,
            "last_red": last_red,
        }
        values |= {f"{name}_{suffix}": value for name, value in expected.items()}
    return values


def differences(found: dict[str, Any], expected: dict[str, Any], *, whole_seconds: bool) -> list[str]:
    def same(name: str, left: Any, right: Any) -> bool:
        if left is None or right is None or isinstance(left, datetime):
            return bool(left == right)
        slack = 1.0 if name.startswith("since_") and whole_seconds else 1e-9
        return math.isclose(left, right, rel_tol=1e-9, abs_tol=slack)

    assert found.keys() == expected.keys()
    return [
        f"{name}: {found[name]} is not {expected[name]}"
        for name in expected
        if not same(name, found[name], expected[name])
    ]


def moments(events: list[Event], chance: random.Random) -> list[datetime]:
    """Random times and those around every change: an event, its arrival, and its leaving each window."""
    edges = [event.at for event in events] + [event.known for event in events]
    edges += [event.at + width for event in events for width in WINDOWS.values()]
    near = [edge + step for edge in edges for step in (-MICROSECOND, timedelta(0), MICROSECOND)]
    return [*near, *(START + timedelta(seconds=chance.uniform(-5, 410)) for _ in range(20))]


@pytest.mark.parametrize(("form", "when", "late"), VARIANTS, ids=lambda value: str(value))
def test_what_is_read_at_any_time_is_the_window_of_what_was_known(
    database: Any, seed: int, form: str, when: str, late: bool
) -> None:
    events, rows = events_by_key(database, late), rows_by_key(database, name_of(form, when, late), late)
    chance, compared = random.Random(seed), 0
    for key, known_events in events.items():
        for moment in moments(known_events, chance):
            known = [event for event in known_events if event.known <= moment]
            # On a grid the value is that of the newest grid point, over what is known now.
            at = moment if when == "event" else START + (moment - START) // GRID * GRID
            started = any(event.at <= at for event in known)
            row = read(rows.get(key, []), moment)
            assert (row is not None) == started, f"seed {seed}, {key} at {moment}: {row}"
            if row is None:
                continue
            compared += 1
            expected = window_values(known_events, at, moment)
            found = dict(row.values)
            for name in found:
                # Between two rows the time since an event grows with the clock; the row says it for its own time.
                if name.startswith("since_") and found[name] is not None:
                    found[name] += (at - row.at).total_seconds()
            assert not differences(found, expected, whole_seconds=form == "default"), (
                f"seed {seed}, {key} at {moment}: {row}"
            )
    assert compared > CASES * 20


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("late", [False, True])
def test_the_two_forms_give_the_same_rows(database: Any, when: str, late: bool) -> None:
    """Bar the last bit of a standard deviation, and parts of a second, which the portable form does not have."""
    columns = "* exclude (" + ", ".join(f"since_red_{suffix}, spread_{suffix}" for suffix in WINDOWS) + ")"
    left, right = (f"select {columns} from {name_of(form, when, late)}" for form in ("duckdb", "default"))
    assert database.execute(f"select count(*) from ({left})").fetchone()[0] > CASES
    assert (
        database.execute(f"(({left}) except all ({right})) union all (({right}) except all ({left}))").fetchall() == []
    )


@pytest.mark.parametrize("when", WHENS)
def test_a_late_arrival_changes_no_earlier_row(database: Any, when: str) -> None:
    """A build at CUT and a later one agree on everything that was available at CUT, row for row.

    Up to the last bit of a standard deviation, which depends on the order of summation.
    """
    columns = "* replace (" + ", ".join(f"round(spread_{suffix}, 9) as spread_{suffix}" for suffix in WINDOWS) + ")"
    earlier = f"select {columns} from cut_{when}"
    later = f"select {columns} from duckdb_{when}_late where known_at <= timestamp '{CUT.isoformat()}'"
    assert (
        database.execute(
            f"select count(*) from duckdb_{when}_late where known_at > timestamp '{CUT.isoformat()}'"
        ).fetchone()[0]
        > 0
    )
    assert database.execute(f"select count(*) from ({earlier})").fetchone()[0] > CASES
    assert (
        database.execute(f"(({earlier}) except all ({later})) union all (({later}) except all ({earlier}))").fetchall()
        == []
    )


@pytest.mark.parametrize("when", WHENS)
def test_no_row_is_later_than_the_build_or_available_before_its_time(database: Any, when: str) -> None:
    late_rows = f"select * from cut_{when} where happened_at > timestamp '{CUT.isoformat()}' or known_at < happened_at"
    assert database.execute(late_rows).fetchall() == []


def test_event_driven_has_a_row_per_change_and_no_other(database: Any) -> None:
    events, rows = events_by_key(database, late=False), rows_by_key(database, "duckdb_event_prompt", late=False)
    for key, own in events.items():
        changes = {event.at for event in own} | {event.at + width for event in own for width in WINDOWS.values()}
        assert sorted(row.at for row in rows[key]) == sorted(change for change in changes if change <= END)


def test_the_grid_is_regular_from_the_first_event_on(database: Any) -> None:
    grid = [START + GRID * step for step in range((END - START) // GRID + 1)]
    events, rows = events_by_key(database, late=False), rows_by_key(database, "duckdb_grid_prompt", late=False)
    for key, own in events.items():
        assert (
            sorted(row.at for row in rows.get(key, []))
            == grid[-(len(grid) - bisect_right(grid, min(event.at for event in own) - MICROSECOND)) :]
        )


def test_microbatches_give_the_rows_of_one_build(database: Any) -> None:
    """The parent has an event_time: without `.render()` dbt would hide from a batch the days before it."""
    assert database.execute("select count(*), max(events_w) from days_at_once").fetchone() == (42, 3)
    both = "select * from days_at_once", "select * from days_in_batches"
    assert (
        database.execute(f"({both[0]} except all {both[1]}) union all ({both[1]} except all {both[0]})").fetchall()
        == []
    )


def test_every_mistake_in_the_arguments_is_reported_at_once(dbt: DbtCall, tmp_path: Path) -> None:
    wrong = """{{ featurelayer.rolling_features(
        source('raw', 'events'), [], 'happened_at', ['fortnight', '7 days', '1 week', '7d'],
        {
            'total': {'agg': 'sum'},
            'odd': {'agg': 'median', 'of': 'x'},
            'extra': {'agg': 'count', 'filter': 'x > 1'}
        },
        mode='grid',
    ) }}"""
    folder = write_project(tmp_path, {"models/wrong.sql": wrong, "models/sources.yml": SOURCES})
    result = dbt(folder, "parse", check=False)
    assert result.returncode != 0
    for message in (
        "keys: name at least one key column",
        "windows: 'fortnight' is not a duration",
        "two columns would be called 'total_7d'",
        "features.total: 'sum' needs `of`",
        "features.odd: 'median' is not an aggregate; there are count, sum",
        "features.extra: 'filter' is unknown",
        "every: mode 'grid' needs",
        "start: mode 'grid' needs",
    ):
        assert message in result.stdout


def test_durations_are_those_of_the_annotations(dbt: DbtCall, tmp_path: Path) -> None:
    texts = ["1 second", "90s", "30 min", "1 day 12 hours", "7d", "2 weeks", "  3 HOURS ", "1h30m"]
    refused = ["", "7", "days", "1 month", "-1 day", "1.5 hours", "1 day,"]
    calls = ", ".join(f"'{text}': featurelayer._duration_seconds('{text}')" for text in texts + refused)
    folder = write_project(tmp_path, {"models/durations.sql": "select '{{ tojson({" + calls + "}) }}' as answers"})
    dbt(folder, "compile")
    compiled = (folder / "target/compiled/small/models/durations.sql").read_text()
    answers = dict(re.findall(r'"([^"]*)": (\w+)', compiled))
    accepted = {text: str(int(parse_duration(text).total_seconds())) for text in texts}
    assert answers == {**accepted, **dict.fromkeys(refused, "null")}
    for text in refused:
        with pytest.raises(ValueError):
            parse_duration(text)
