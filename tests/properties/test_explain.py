"""The explanation of one label against the oracle: the winner, what dropped every other row, and the values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurelayer.model import DType, Feature, FeatureView, ServiceView
from featurelayer.sql.plan import Mode, Plan
from featurelayer.testing import Case, DuckDBEngine, make_table, oracle
from featurelayer.testing.builders import plain, rows_of
from featurelayer.testing.strategies import values, worlds
from featurelayer.training.explain import Candidate, Outcome, ViewExplanation, explain_plan
from tests.profiles import examples

Row = Mapping[str, Any]
NUMBER = Feature(name="id", dtype=DType.parse("int64"))


@pytest.fixture(scope="module", params=["native", "portable"])
def engine(request: pytest.FixtureRequest) -> Iterator[DuckDBEngine]:
    found = DuckDBEngine(request.param)
    yield found
    found.close()


def often(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 9).flatmap(lambda n: st.none() if n == 9 else values)


@st.composite
def many_rows(draw: st.DrawFn, view: FeatureView, keys: Mapping[str, st.SearchStrategy[Any]]) -> list[dict[str, Any]]:
    columns = {name: often(keys.get(name, values(dtype))) for name, dtype in view.columns}
    rows = draw(st.lists(st.fixed_dictionaries(columns), min_size=3, max_size=10))
    for place, name in draw(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(list(columns))), max_size=4)):
        # A tie, or a row once more.
        rows.append(rows[place % len(rows)] | {name: draw(columns[name])})
    return rows


@st.composite
def crowded(draw: st.DrawFn, mode: Mode) -> tuple[Case, int]:
    """Draw a world in which a label, whose place is returned, meets many rows, and number the rows.

    A row's number is a further feature, the same in rows that are the same, so it breaks no tie.
    """
    case = draw(worlds(mode=str(mode)))
    keys = {"k": st.sampled_from("aaab"), "other": st.sampled_from("aaab"), "n": st.sampled_from([1, 1, 2])}
    relations: dict[str, pa.Table] = {}
    for view in case.views:
        if view.relation_name in relations:
            continue
        rows = rows_of(case.rows[view.id]) if view.static else draw(many_rows(view, keys))
        known: dict[tuple[Any, ...], int] = {}
        same = [tuple(oracle.comparable(row[name]) for name, _ in view.columns) for row in rows]
        rows = [row | {NUMBER.name: known.setdefault(each, len(known))} for row, each in zip(rows, same, strict=True)]
        relations[view.relation_name] = make_table((*view.columns, (NUMBER.name, NUMBER.dtype)), rows)
    times = case.labels.schema.field("t").type
    kind = "date" if times == pa.date32() else "timestamptz" if times.tz else "timestamp"
    columns = {name: often(keys[name]) for name in case.labels.column_names if name in keys}
    label = draw(st.fixed_dictionaries(columns | {"t": often(values(DType.parse(kind)))}))
    labels = [*rows_of(case.labels)[:3], label]
    place = draw(st.sampled_from([len(labels) - 1] * 3 + [0]))
    joins = tuple(replace(join, features=(*join.features, NUMBER.name)) for join in case.service.views)
    case = replace(
        case,
        views=tuple(replace(view, features=(*view.features, NUMBER)) for view in case.views),
        rows={view.id: relations[view.relation_name] for view in case.views},
        labels=pa.Table.from_pylist(labels, schema=case.labels.schema),
        service=replace(case.service, views=joins),
    )
    return case, place


def planned(engine: DuckDBEngine, case: Case) -> Plan:
    engine.use_zone(case.zone)
    for view in case.views:
        engine.load(view, case.rows[view.id])
    views = {view.id: view for view in case.views}
    return engine.plan(case.labels, case.service, views, mode=case.mode, exports=case.exports)


@pytest.mark.parametrize("mode", list(Mode))
@given(data=st.data())
@settings(max_examples=examples(12))
def test_an_explanation_says_what_the_oracle_says(engine: DuckDBEngine, mode: Mode, data: st.DataObject) -> None:
    case, place = data.draw(crowded(mode))
    most = data.draw(st.integers(2, 20))
    plan = planned(engine, case)

    found = explain_plan(engine.warehouse, plan, place, engine.dialect, most=most)

    built, expected = engine.run(plan)[place], case.correct_rows()[place]
    at = oracle.utc(expected["t"])
    views = {view.id: view for view in case.views}
    assert (found.row, found.labels, found.mode) == (place, case.labels.num_rows, mode)
    timed = mode is Mode.AS_SERVED or not all(view.static for view in case.views)
    assert oracle.utc(found.time) == (at if timed else None)
    for join, explained in zip(case.service.views, found.views, strict=True):
        values = {feature.name: feature.value for feature in explained.features}
        assert plain(values) == plain({name: expected[name] for name in values})
        assert plain(values) == plain({name: built[name] for name in values})
        judge = Judge(case, views[join.view], join, expected)
        judge.winner_of(explained)
        judge.candidates_of(explained, most)


class Judge:
    """What the oracle says of the rows of one label's key."""

    def __init__(self, case: Case, view: FeatureView, join: ServiceView, label: Row) -> None:
        self.view, self.mode = view, case.mode
        self.at = oracle.utc(label["t"])
        self.seen = oracle.knowledge_time(self.at, case.mode, case.exports.get(view.id, ()))
        self.key = {column: label[request] for column, request in join.keys}
        rows = rows_of(case.rows[view.id])
        self.mine = [row for row in rows if all(part is not None and row[k] == part for k, part in self.key.items())]
        self.winner = oracle.newest(view, rows, self.key, self.seen, mode=case.mode)
        self.by_id = {row["id"]: row for row in self.mine}

    def winner_of(self, explained: ViewExplanation) -> None:
        """The winner is the oracle's, and so is what became of it."""
        if self.winner is None:
            assert explained.winner is None
            return
        assert explained.winner is not None
        assert explained.winner.values["id"] == self.winner["id"]
        assert oracle.utc(explained.winner.event_time) == self.event(self.winner)
        expired = oracle.drop_expired(self.view, self.winner, self.at) is None
        until = oracle.utc(self.winner["until"]) if self.view.valid_to else None
        ended = until is not None and self.at is not None and until <= self.at
        wanted = Outcome.EXPIRED if expired else Outcome.ENDED if ended else Outcome.WON
        assert explained.winner.outcome is wanted

    def candidates_of(self, explained: ViewExplanation, most: int) -> None:
        """Every candidate is one of the key's rows, with a true verdict; those left out are the farthest."""
        shown = explained.candidates
        assert plain(explained.keys) == plain(self.key)
        assert explained.rows == len(self.mine)
        assert len(shown) == min(most, len(self.mine))
        times = [oracle.utc(candidate.event_time) for candidate in shown]
        assert times == sorted(times, key=oracle.comparable, reverse=True)
        middle = self.event(self.winner) if self.winner is not None else self.at
        all_newer, all_others = self.sides([self.event(row) for row in self.mine], middle)
        newer, others = self.sides(times, middle)
        assert newer == all_newer[: len(newer)]
        assert others == all_others[: len(others)]
        assert explained.newer_left_out == len(all_newer) - len(newer)
        assert explained.older_left_out == len(all_others) - len(others)
        counts = [candidate.outcome for candidate in shown]
        assert sum(outcome in (Outcome.WON, Outcome.EXPIRED, Outcome.ENDED) for outcome in counts) <= 1
        for candidate in shown:
            self.verdict_of(candidate)

    def sides(self, times: list[datetime | None], middle: datetime | None) -> tuple[list[Any], list[Any]]:
        """The times after the middle, and the others, nearest first."""
        newer = [time for time in times if time is not None and middle is not None and time > middle]
        others = [time for time in times if time is None or middle is None or time <= middle]
        return sorted(newer), sorted(others, key=oracle.comparable, reverse=True)

    def verdict_of(self, candidate: Candidate) -> None:
        row = self.by_id[candidate.values["id"]]
        assert plain(candidate.values) == plain({name: row[name] for name in candidate.values})
        assert plain(candidate.order) == plain({name: row[name] for name in candidate.order})
        outcome, said = self.outcome(row)
        same = (Outcome.WON, Outcome.EXPIRED, Outcome.ENDED, Outcome.SAME_AS_WINNER)
        assert candidate.outcome is outcome or (outcome is Outcome.WON and candidate.outcome in same)
        assert candidate.verdict.endswith(said), candidate.verdict

    def event(self, row: Row) -> datetime | None:
        return None if self.view.static else oracle.utc(row["e"])

    def static_outcome(self) -> tuple[Outcome, str]:
        if self.winner is not None:
            return Outcome.WON, ""
        return (Outcome.NULL_LABEL_TIME if self.at is None else Outcome.NOT_EXPORTED), ""

    def outcome(self, row: Row) -> tuple[Outcome, str]:
        view = self.view
        if view.static:
            return self.static_outcome()
        clocks = ["e", *([view.available_at] if view.available_at and self.mode != "event_time" else [])]
        null = [name for name in clocks if row[name] is None]
        if null:
            return Outcome.NULL_TIME, f"{null[0]} is NULL"
        if self.at is None:
            return Outcome.NULL_LABEL_TIME, "the label's time is NULL"
        if not oracle.is_visible(view, row, self.at, "event_time"):
            return Outcome.AFTER_LABEL, ""
        if not oracle.is_visible(view, row, self.at, self.mode):
            return Outcome.NOT_AVAILABLE, ""
        if self.seen is None or not oracle.is_visible(view, row, self.seen, self.mode):
            return Outcome.NOT_EXPORTED, ""
        assert self.winner is not None
        if row["id"] == self.winner["id"]:
            return Outcome.WON, ""
        if row["e"] != self.winner["e"]:
            return Outcome.OLDER, ""
        declared = [name for name in (view.created_timestamp, view.available_at, *view.tie_breaker) if name]
        columns = [*declared, *(name for name, _ in view.columns)]
        column = next(n for n in columns if oracle.comparable(row[n]) != oracle.comparable(self.winner[n]))
        assert oracle.comparable(row[column]) < oracle.comparable(self.winner[column])
        if column in declared:
            return Outcome.LOST_TIE, f"lost the tie on {column}"
        return Outcome.LOST_CONTENT, f"(column {column})"
