"""The kit can fail: engines with the usual mistakes, each of which some named case reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import Phase, find, settings
from sqlglot import exp

from featurelayer.model import FeatureService, FeatureView, ServiceView
from featurelayer.sql.dialects.base import Dialect
from featurelayer.sql.dialects.duckdb import DuckDB
from featurelayer.sql.join_rules import JoinRules
from featurelayer.sql.plan import AsofJoin, Plan
from featurelayer.sql.scripts import MaterializedScript
from featurelayer.testing import DuckDBEngine, OracleEngine, applies, case_named, cases, check, oracle
from featurelayer.testing.builders import rows_of
from featurelayer.testing.engines import with_script
from featurelayer.testing.leaks import leaks
from featurelayer.testing.strategies import altered, worlds

Rows = list[dict[str, Any]]


# --- plans that say something else -----------------------------------------------------------------------------------


class Planned(DuckDBEngine):
    """Our SQL of a plan in which every join was changed."""

    def __init__(self, change: Callable[[AsofJoin], AsofJoin]) -> None:
        super().__init__("native")
        self.change = change

    def run(self, plan: Plan) -> Rows:
        return super().run(replace(plan, joins=tuple(self.change(join) for join in plan.joins)))


def timed(change: Callable[[AsofJoin], AsofJoin]) -> Callable[[], DuckDBEngine]:
    return lambda: Planned(lambda join: change(join) if join.event is not None else join)


def no_ledger(join: AsofJoin) -> AsofJoin:
    return replace(join, ledger=None)


# --- SQL that says something else ------------------------------------------------------------------------------------


class NullsFirst(JoinRules):
    def greatest_first(self, columns: Any, alias: str) -> list[exp.Ordered]:
        found = super().greatest_first(columns, alias)
        nulls = [exp.Ordered(this=exp.Is(this=o.this.copy(), expression=exp.Null()), desc=True) for o in found]
        return [order for pair in zip(nulls, found, strict=True) for order in pair]


class Unranked(JoinRules):
    """Ties are left to the order in which the engine meets the rows."""

    def tie_order(self, join: AsofJoin, alias: str) -> list[exp.Ordered]:
        return [exp.Ordered(this=exp.Literal.number(1))]


class ThroughFloats(JoinRules):
    """Features pass through a float, as in pandas where an integer column has a gap."""

    def feature_values(self, plan: Plan, join: AsofJoin, row: str, at: exp.Expression) -> list[exp.Alias]:
        found = super().feature_values(plan, join, row, at)
        for feature, value in zip(join.features, found, strict=False):
            if feature.dtype.is_numeric:
                value.set("this", exp.cast(value.this, exp.DataType.build("DOUBLE")))
        return found


def ruled(rules: type[JoinRules]) -> Dialect:
    return with_script(DuckDB(), type("Ruled", (MaterializedScript,), {"rules_type": rules}))


class MatchedOnEventAlone(MaterializedScript):
    """An ASOF join on the event time that afterwards drops what was not available."""

    def _moments(self, join: AsofJoin) -> exp.Select:
        return super()._moments(replace(join, available=None))


class Coalescing(MaterializedScript):
    """A default in place of every NULL."""

    def value_or_default(self, join: AsofJoin, feature: Any) -> exp.Alias:
        found = super().value_or_default(join, feature)
        if feature.has_default:
            default = self.dialect.literal(feature.default, feature.dtype)
            found.set("this", exp.func("COALESCE", found.this, default))
        return found


class InSessionTime(DuckDB):
    """Times are read in the session's zone."""

    script_type = MaterializedScript

    def utc(self, expression: exp.Expression, dtype: Any, *, nanoseconds: bool = False) -> exp.Expression:
        return exp.cast(expression, exp.DataType.build("TIMESTAMP"))


class WholeSeconds(DuckDB):
    """Durations are rounded down to seconds."""

    script_type = MaterializedScript

    def shift(self, expression: exp.Expression, by: timedelta) -> exp.Expression:
        return super().shift(expression, timedelta(seconds=int(by.total_seconds())))


class OwnText(DuckDB):
    """Nested values are ordered by the engine's own text."""

    script_type = MaterializedScript

    def comparable(self, column: Any, alias: str) -> list[exp.Expression]:
        if column.dtype.element is None:
            return super().comparable(column, alias)
        return [exp.cast(exp.column(column.name, table=alias, quoted=True), exp.DataType.build("TEXT"))]


# --- joins of another kind, on top of the oracle ---------------------------------------------------------------------


class Joined(OracleEngine):
    """The oracle asked in another way."""

    def training_set(
        self,
        labels: Any,
        service: FeatureService,
        views: Mapping[str, FeatureView],
        *,
        mode: str = "known_at",
        exports: Any = None,
    ) -> Rows:
        return self.join(rows_of(labels), service, views, dict(self._rows), mode, exports)

    def join(self, labels: Rows, service: FeatureService, views: Any, rows: Any, mode: str, exports: Any) -> Rows:
        return oracle.training_set(labels, service, views, rows, mode=mode, exports=exports)


class SkippingNulls(Joined):
    """Per feature the last value that is not NULL."""

    def join(self, labels: Rows, service: FeatureService, views: Any, rows: Any, mode: str, exports: Any) -> Rows:
        found = [dict(label) for label in labels]
        for join in service.views:
            for feature in join.features:
                one = replace(service, views=(replace(join, features=(feature,)),))
                known = {join.view: [row for row in rows[join.view] if row[feature] is not None]}
                for out, row in zip(found, super().join(labels, one, views, known, mode, exports), strict=True):
                    out[join.column(feature)] = row[join.column(feature)]
        return found


class GluedKeys(Joined):
    """Composite keys as one text."""

    separator = ""

    def join(self, labels: Rows, service: FeatureService, views: Any, rows: Any, mode: str, exports: Any) -> Rows:
        given = [dict(label) for label in labels]
        glued = {
            name: [row | self.glue(row, [key.column for key in view.join_keys]) for row in rows[name]]
            for name, view in views.items()
        }
        asked = [label | self.glue(label, [key.name for key in service.request_keys]) for label in labels]
        found = super().join(asked, service, views, glued, mode, exports)
        return [row | label for row, label in zip(found, given, strict=True)]

    def glue(self, row: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
        if len(names) < 2 or any(row[name] is None for name in names):
            return {}
        return dict.fromkeys(names, self.separator.join(str(row[name]) for name in names))


class GluedWithBars(GluedKeys):
    separator = "|"


class NullKeysMatch(Joined):
    """NULL is a key like any other."""

    def join(self, labels: Rows, service: FeatureService, views: Any, rows: Any, mode: str, exports: Any) -> Rows:
        nobody = object()

        def named(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
            return {name: nobody if row[name] is None else row[name] for name in names}

        keyed = {
            name: [row | named(row, [key.column for key in view.join_keys]) for row in rows[name]]
            for name, view in views.items()
        }
        asked = [label | named(label, [key.name for key in service.request_keys]) for label in labels]
        found = super().join(asked, service, views, keyed, mode, exports)
        return [row | label for row, label in zip(found, labels, strict=True)]


class EndedRowsFirst(Joined):
    """Rows that have ended are taken out before the match, so an older one wins."""

    def join(self, labels: Rows, service: FeatureService, views: Any, rows: Any, mode: str, exports: Any) -> Rows:
        found = []
        for label in labels:
            at = oracle.utc(label[service.label_timestamp or ""])
            alive = {
                name: [row for row in rows[name] if not (view.valid_to and at and ended(row, view, at))]
                for name, view in views.items()
            }
            found += super().join([label], service, views, alive, mode, exports)
        return found


def ended(row: Mapping[str, Any], view: FeatureView, at: Any) -> bool:
    until = oracle.utc(row[view.valid_to or ""])
    return until is not None and until <= at


class FreshFromArrival(Joined):
    """The TTL counts from when a row was available."""

    def join(self, labels: Rows, service: FeatureService, views: Any, rows: Any, mode: str, exports: Any) -> Rows:
        found = []
        for label in labels:
            at = oracle.utc(label[service.label_timestamp or ""])
            fresh = {name: [row for row in rows[name] if self.fresh(row, view, at)] for name, view in views.items()}
            patient = {name: replace(view, ttl=None) for name, view in views.items()}
            found += super().join([label], service, patient, fresh, mode, exports)
        return found

    def fresh(self, row: Mapping[str, Any], view: FeatureView, at: Any) -> bool:
        if view.ttl is None or at is None:
            return True
        arrived = oracle.utc(row[view.available_at or view.event_time or ""])
        return arrived is not None and arrived >= at - view.ttl


class Inner(Joined):
    """Labels without features are lost."""

    def join(self, labels: Rows, service: FeatureService, views: Any, rows: Any, mode: str, exports: Any) -> Rows:
        found = super().join(labels, service, views, rows, mode, exports)
        return [row for row in found if any(row[name] is not None for name in service.columns)]


class Distinct(Joined):
    """Labels that are the same are one."""

    def join(self, labels: Rows, service: FeatureService, views: Any, rows: Any, mode: str, exports: Any) -> Rows:
        found = super().join(labels, service, views, rows, mode, exports)
        return list({str(row): row for row in found}.values())


class InTimeOrder(Joined):
    """As merge_asof wants it."""

    def join(self, labels: Rows, service: FeatureService, views: Any, rows: Any, mode: str, exports: Any) -> Rows:
        found = super().join(labels, service, views, rows, mode, exports)
        return sorted(found, key=lambda row: str(row[service.label_timestamp or ""]))


class NewestFinished(Joined):
    """As served, but by the run that finished last instead of the newest one."""

    def join(self, labels: Rows, service: FeatureService, views: Any, rows: Any, mode: str, exports: Any) -> Rows:
        ordered = {
            view: sorted((run for run in runs if run[0] is not None), key=lambda run: run[0])
            for view, runs in (exports or {}).items()
        }
        return super().join(labels, service, views, rows, mode, ordered)


class OneLedger(Joined):
    """As served, but by any view's exports."""

    def join(self, labels: Rows, service: FeatureService, views: Any, rows: Any, mode: str, exports: Any) -> Rows:
        runs = [run for found in (exports or {}).values() for run in found]
        return super().join(labels, service, views, rows, mode, dict.fromkeys(views, runs))


class OldestRole(Joined):
    """Every role is joined on the first role's keys."""

    def join(self, labels: Rows, service: FeatureService, views: Any, rows: Any, mode: str, exports: Any) -> Rows:
        first: dict[str, ServiceView] = {}
        for join in service.views:
            first.setdefault(join.view, join)
        same = tuple(replace(join, keys=first[join.view].keys) for join in service.views)
        return super().join(labels, replace(service, views=same), views, rows, mode, exports)


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "exclusive bound": (timed(lambda join: replace(join, exclusive=True)), "equal label time"),
    "inclusive bound": (timed(lambda join: replace(join, exclusive=False)), "exclusive bound"),
    "no TTL": (timed(lambda join: replace(join, ttl=None)), "TTL edge"),
    "TTL exclusive": (
        timed(lambda join: replace(join, ttl=join.ttl and join.ttl - timedelta(microseconds=1))),
        "TTL edge",
    ),
    "TTL in seconds": (lambda: DuckDBEngine(WholeSeconds()), "TTL below a second"),
    "TTL from the available time": (FreshFromArrival, "TTL counts from the event"),
    "ASOF on available_at alone": (
        timed(lambda join: replace(join, event=join.available or join.event, available=None)),
        "late arrival between",
    ),
    "ASOF on the event time, then blanked": (
        lambda: DuckDBEngine(with_script(DuckDB(), MatchedOnEventAlone)),
        "an older row that was known",
    ),
    "no available time": (timed(lambda join: replace(join, available=None)), "available time"),
    "no delay": (timed(lambda join: replace(join, delay=timedelta(0))), "delay"),
    "NULLs skipped": (SkippingNulls, "NULL in the newest row"),
    "NULLs first": (lambda: DuckDBEngine(ruled(NullsFirst)), "NULL created time"),
    "ties by luck": (lambda: DuckDBEngine(ruled(Unranked)), "tie with created time"),
    "defaults for NULLs": (
        lambda: DuckDBEngine(with_script(DuckDB(), Coalescing)),
        "NULL in the newest row and a default",
    ),
    "ended rows out first": (EndedRowsFirst, "an ended row hides older ones"),
    "no valid_to": (timed(lambda join: replace(join, valid_to=None)), "valid_to"),
    "glued keys": (GluedKeys, "composite keys that collide when glued"),
    "keys glued with a separator": (GluedWithBars, "composite keys with separators inside"),
    "NULL keys match": (NullKeysMatch, "null and unknown keys"),
    "one key for all roles": (OldestRole, "roles"),
    "inner join": (Inner, "empty view"),
    "labels made distinct": (Distinct, "duplicate labels"),
    "labels sorted by time": (InTimeOrder, "label order"),
    "the session's time zone": (lambda: DuckDBEngine(InSessionTime()), "naive label, aware event"),
    "integers as floats": (lambda: DuckDBEngine(ruled(ThroughFloats)), "integers"),
    "nested values in the engine's text": (lambda: DuckDBEngine(OwnText()), "tie by array of text with commas"),
    "as served, the ledger ignored": (lambda: Planned(no_ledger), "served until the next export"),
    "as served, the last to finish": (NewestFinished, "an older run that finishes last"),
    "as served, any view's export": (OneLedger, "views exported at different times"),
}


@pytest.fixture(params=WRONG)
def mistake(request: pytest.FixtureRequest) -> Iterator[tuple[Any, str]]:
    make, name = WRONG[request.param]
    engine = make()
    yield engine, name
    if isinstance(engine, DuckDBEngine):
        engine.close()


def test_the_case_made_for_a_mistake_reports_it(mistake: tuple[Any, str]) -> None:
    engine, name = mistake
    case = case_named(name)
    orders = (case, case.reordered(), case.reordered(seed=1))
    assert any(check(engine, order) for order in orders)


def test_what_is_reported_can_be_read() -> None:
    engine = DuckDBEngine(with_script(DuckDB(), Coalescing))
    assert check(engine, case_named("NULL in the newest row and a default")) == [
        "NULL in the newest row and a default: row 1, v__x: got 7, expected None"
    ]
    engine.close()
    case = case_named("empty view")
    assert check(Inner(), case) == ["empty view: 0 rows came out, 2 were expected"]
    assert check(OracleEngine(), case_named("DATE event without delay")) == [
        "DATE event without delay: expected PlanError, but rows came out"
    ]
    wrong = replace(case_named("label order"), features={"v__x": [0] * 4, "v__y": [0] * 4})
    assert check(OracleEngine(), wrong) == ["label order: columns are k, t, v__x; expected k, t, v__x, v__y"]
    many = replace(case_named("65 labels"), features={"v__x": [-1] * 65})
    assert check(OracleEngine(), many)[-1] == "65 labels: and 60 more differences"


def test_refusals_are_compared_by_type_and_words() -> None:
    engine = DuckDBEngine()
    case = case_named("DATE event without delay")
    assert (
        "expected LabelError, got PlanError"
        in check(engine, replace(case, error=case_named("float label key").error))[0]
    )
    assert "the error does not say 'abracadabra'" in check(engine, replace(case, messages=("abracadabra",)))[0]
    assert "refused with PlanError" in check(engine, replace(case, error=None))[0]
    engine.close()


def test_an_engine_is_asked_only_for_what_it_can() -> None:
    plain = DuckDBEngine()
    plain.lacks = frozenset({"structs", "refusals", "as_served"})
    left_out = {case.name for case in cases() if not applies(plain, case)}
    assert {"tie by struct", "DATE event without delay", "never exported"} <= left_out
    assert not {"tie by array", "equal label time"} & left_out
    plain.close()


class Leaky(Joined):
    """Looks as right as can be until a row arrives that it should not know."""

    def join(self, labels: Rows, service: FeatureService, views: Any, rows: Any, mode: str, exports: Any) -> Rows:
        return super().join(labels, service, views, rows, "event_time", exports)


@pytest.mark.parametrize("mode", ["known_at", "as_served"])
def test_the_no_leak_property_finds_a_leak(mode: str) -> None:
    pairs = worlds(mode=mode, least=1).flatmap(lambda case: altered(case).map(lambda after: (case, after)))
    only = settings(max_examples=2000, database=None, derandomize=True, phases=[Phase.generate])
    before, after = find(pairs, lambda pair: bool(leaks(Leaky(), *pair)), settings=only)
    assert leaks(OracleEngine(), before, after) == []
    assert "of the labels that see no change: row" in leaks(Leaky(), before, after)[0]
