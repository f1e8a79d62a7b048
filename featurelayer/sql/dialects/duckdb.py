"""DuckDB: match, resolve, fetch.

Measured on 1M labels x 10M rows (benchmarks/training_set.py): a wide ASOF join sorts every feature column of every
row. Here the ASOF join sees keys and times only, the features of the rows it found are fetched by a hash join, and
ties are looked at only where a label got more than one row. Three facts shape the statements:

- An extra condition in an ASOF's ON turns it into a nested loop, so TTL and available time are tested after the match.
- ASOF pushes no join filter down: rows are cut to the labels' keys and time range before it. The range comes from
  variables and not from subqueries, because a filter that compares with a subquery makes the planner
  build its hash table on the larger side.
- ASOF breaks ties by luck, so it matches the event time only, never a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlglot import exp

from featurelayer.model import Column, DType, Kind
from featurelayer.sql.ast import both, call, col, key_alias, named, not_null, table
from featurelayer.sql.dialects._duckdb_json import json_text
from featurelayer.sql.dialects.base import Cte, Dialect
from featurelayer.sql.plan import (
    EVENT,
    ID,
    RESERVED,
    TIME,
    AsofJoin,
    Check,
    Entities,
    JoinReport,
    Labels,
    Plan,
    Script,
    Statement,
    Step,
)
from featurelayer.sql.spine import LABELS, RANK, VALID_TO

FIRST, LAST = f"{RESERVED}first", f"{RESERVED}last"
LEVEL, CONTENT = f"{RESERVED}level", f"{RESERVED}content"
# How many rows of a view are looked at to guess how many of them the labels' keys reach.
_SAMPLE = 10_000


class DuckDB(Dialect):
    """DuckDB 1.4.1 and later: a thin ASOF match, a fetch by hash join, ties resolved where there are any."""

    name = "duckdb"
    text_type = "VARCHAR"
    session = (Statement(sql="SET TimeZone = 'UTC'", comment="Times without a zone are UTC (rule 8)."),)

    def type_text(self, dtype: DType) -> str:
        match dtype.kind:
            case Kind.INT | Kind.UINT:
                sizes = {8: "TINYINT", 16: "SMALLINT", 32: "INTEGER", 64: "BIGINT", 128: "HUGEINT"}
                return ("U" if dtype.kind is Kind.UINT else "") + sizes[dtype.bits or 64]
            case Kind.FLOAT:
                return "FLOAT" if dtype.bits == 32 else "DOUBLE"
            case Kind.BYTES:
                return "BLOB"
            case Kind.ARRAY:
                assert dtype.element is not None
                return f"{self.type_text(dtype.element)}[]"
            case _:
                return super().type_text(dtype)

    def finer_than_microseconds(self, value: exp.Expression) -> exp.Expression:
        remainder = exp.Mod(this=call("EPOCH_NS", value), expression=exp.Literal.number(1000))
        return exp.NEQ(this=remainder, expression=exp.Literal.number(0))

    def json_text(self, value: exp.Expression, dtype: DType, *, key: bool) -> exp.Expression | None:
        return json_text(value, dtype, key=key)

    def bytes_of(self, text: exp.Expression) -> exp.Expression:
        return call("STRLEN", text)

    def comparable(self, column: Column, alias: str) -> list[exp.Expression]:
        values = super().comparable(column, alias)
        if column.dtype.kind is Kind.TEXT:
            # An ENUM would be ordered by its declaration.
            return [exp.cast(col(column.name, alias), self.type(column.dtype))]
        if column.dtype.kind in (Kind.ARRAY, Kind.STRUCT, Kind.MAP):
            # DuckDB's own text quotes some of the text inside, JSON all of it, as every other engine's does.
            return [exp.cast(call("TO_JSON", col(column.name, alias)), self.type(DType(kind=Kind.TEXT)))]
        if column.dtype.kind is Kind.FLOAT:
            # 0.0 and -0.0 are equal and not the same; their text tells them apart.
            values.append(exp.cast(col(column.name, alias), exp.DataType.build("VARCHAR", dialect=self.name)))
        return values

    # --- checks --------------------------------------------------------------------------------------------------

    def label_checks(self, labels: Labels) -> tuple[Check, ...]:
        checks = []
        for column in labels.columns:
            if column.cast is not None:
                kind = "a timestamp" if column is labels.time else str(column.cast)
                bad = both(
                    not_null(col(column.alias)),
                    exp.Is(this=exp.TryCast(this=col(column.alias), to=self.type(column.cast)), expression=exp.Null()),
                )
                checks.append(
                    self._label_check(
                        labels,
                        column.alias,
                        bad,
                        f"label column '{column.name}' must be {kind}; it holds {{rows}}",
                        "correct these rows",
                    )
                )
        time = labels.time
        if time is not None and (time.nanoseconds or time.cast is not None):
            if time.cast is not None:
                digits = exp.Literal.string(r"\.\d{6}\d*[1-9]")
                finer: exp.Expression = call("REGEXP_MATCHES", col(time.alias), digits)
            else:
                finer = self.finer_than_microseconds(col(time.alias))
            message = f"label column '{time.name}' has values finer than a microsecond: {{rows}}"
            fix = "round them to microseconds; truncating here could move a label past an event"
            checks.append(self._label_check(labels, time.alias, finer, message, fix))
        return tuple(checks)

    def _label_check(self, labels: Labels, column: str, bad: exp.Expression, message: str, fix: str) -> Check:
        row, value = f"{RESERVED}row", f"{RESERVED}value"
        numbered = exp.select(exp.Star(), named(self.row_number(), row))
        numbered = numbered.from_(self.label_source(labels))
        select = (
            exp.select(named(col(column), value), col(row))
            .from_(numbered.subquery("labels"))
            .where(bad)
            .order_by(col(row))
            .limit(3)
        )
        return Check(sql=self.sql(select), message=message, fix=fix, about_labels=True)

    # --- the script ----------------------------------------------------------------------------------------------

    def compile(self, plan: Plan) -> Script:
        steps = [self.spine_step(plan), *(self._view_step(plan, join) for join in plan.joins)]
        temporary = [LABELS]
        for join in plan.joins:
            temporary += [self.rows_name(join)]
            if join.ledger is not None:
                temporary += [self.labels_name(join)]
            if join.event is not None:
                temporary += [f"{join.name}__tied", f"{join.name}__ranked"]
                if join is self._matched_by(plan, join):
                    temporary += [self.match_name(join)]
        comment = "Every label once, in its order, with the features of its rows."
        query = Statement(sql=self.sql(self.query(plan)), comment=comment)
        return self.script(plan, steps, query, temporary)

    def query(self, plan: Plan) -> exp.Select:
        return self.final(plan, rank=False)

    def spine_step(self, plan: Plan) -> Step:
        statements = [self.spine_statement(plan)]
        if any(join.event is not None for join in plan.joins):
            why = "The range of the labels' times: rows that no label can see are not read."
            statements += [self._set_variable(FIRST, exp.Min, why), self._set_variable(LAST, exp.Max)]
        return Step(name="labels", statements=tuple(statements))

    def create(self, name: str, query: exp.Query) -> str:
        create = exp.Create(
            kind="TABLE",
            this=table(name),
            expression=query,
            replace=True,
            properties=exp.Properties(expressions=[exp.TemporaryProperty()]),
        )
        return self.sql(create)

    def _set_variable(self, name: str, aggregate: type[exp.AggFunc], comment: str = "") -> Statement:
        bound = exp.select(aggregate(this=col(TIME))).from_(table(LABELS)).subquery()
        return Statement(sql=f"SET VARIABLE {name} = {self.sql(bound)}", comment=comment)

    def match_name(self, join: AsofJoin) -> str:
        """The table or CTE that holds the winner's event time for each label."""
        return f"{join.name}__match"

    def _matched_by(self, plan: Plan, join: AsofJoin) -> AsofJoin:
        """The first join that has the same labels find the same moments: what it matched serves this one too."""
        return next(other for other in plan.joins if _moments(other) == _moments(join))

    def _view_step(self, plan: Plan, join: AsofJoin) -> Step:
        served = () if join.ledger is None else (self._served(join),)
        if join.event is None:
            rows = Statement(
                sql=self.create(self.rows_name(join), self.static_rows(plan, join, rank=False)),
                comment=f"{join.name}: static, joined on its keys alone (rule 9).",
            )
            return Step(name=join.name, statements=(*served, rows), report=self._report(plan, join))
        first = self._matched_by(plan, join)
        match = self.match_name(first)
        matched = Statement(sql=self.create(match, self._match(join)), comment=self._match_comment(join))
        statements = (
            *served,
            *((matched,) if first is join else ()),
            Statement(
                sql=self.create(self.rows_name(join), self._fetch(plan, join, match)),
                comment=("" if first is join else f"{join.name}: the same rows, keys and times as {first.name}.\n")
                + self._fetch_comment(join),
            ),
            *self._resolve(plan, join, match),
        )
        return Step(name=join.name, statements=statements, report=self._report(plan, join))

    def _served(self, join: AsofJoin) -> Statement:
        return Statement(
            sql=self.create(self.labels_name(join), self.served_labels(join)),
            comment=f"{join.name}: the labels by the export that was being served at their time.",
        )

    def _match_comment(self, join: AsofJoin) -> str:
        bound = "before" if join.exclusive else "at or before"
        both_clocks = " among the rows available by then" if join.available else ""
        return f"{join.name}: match the newest event time {bound} each label{both_clocks} (rule 1)."

    def _fetch_comment(self, join: AsofJoin) -> str:
        available = " that were available by then" if join.available else ""
        return f"{join.name}: fetch the rows of that event time{available}" + (
            ", unless expired (rule 2)." if join.ttl else "."
        )

    def _match(self, join: AsofJoin, *, cut: bool = True) -> exp.Select:
        """Label id, time, keys and the winner's event time, raw as the view has it."""
        assert join.event is not None
        times = dict.fromkeys((TIME, self.seen(join, "l").name))
        labels = (
            exp.select(col(ID, "l"), *(col(time, "l") for time in times), *self.label_keys(join, "l"))
            .from_(self.labels_of(join, "l"))
            .where(self.label_known(join, "l"))
        )
        keys = [key_alias(position) for position in range(len(join.keys))]
        on: list[exp.Expression] = [exp.EQ(this=col(key, "l"), expression=col(key, "f")) for key in keys]
        if join.available is None:
            # Both clocks in step: shift the label instead of ten million rows.
            moment, at = self.utc_event("f", join), self.shift(self.seen(join, "l"), -join.wait)
        else:
            moment, at = col(f"{RESERVED}at", "f"), self.seen(join, "l")
        on.append(exp.GTE(this=at, expression=moment))
        asof = exp.Join(this=self._moments_in_reach(join, cut=cut).subquery("f"), method="ASOF", on=both(*on))
        select = exp.select(
            col(ID, "l"), *(col(time, "l") for time in times), *(col(key, "f") for key in keys), col(EVENT, "f")
        )
        select = select.from_(labels.subquery("l"))
        select.append("joins", asof)
        return select

    def utc_event(self, alias: str, join: AsofJoin) -> exp.Expression:
        """The raw event time of the match as naive UTC."""
        assert join.event is not None
        return self.utc(col(EVENT, alias), join.event.dtype, nanoseconds=join.event.nanoseconds)

    def _moments_in_reach(self, join: AsofJoin, *, cut: bool) -> exp.Select:
        """The view's keys and times; `cut` to the range of times that the labels can see."""
        assert join.event is not None
        reach = [self.usable(join, "f")]
        if cut:
            first, last = call("GETVARIABLE", exp.Literal.string(FIRST)), call("GETVARIABLE", exp.Literal.string(LAST))
            reach += [exp.LTE(this=self.event(join, "f"), expression=last)]
            reach += self.fresh(join, self.event(join, "f"), first)
        projections = self.view_keys(join, "f")
        if join.available is None:
            projections.append(named(col(join.event.name, "f"), EVENT))
        else:
            # Peers of one moment share the maximum, so it does not matter which of them the match meets.
            newest = exp.Window(
                this=exp.Max(this=col(join.event.name, "f")),
                partition_by=[col(key.name, "f") for key, _ in join.keys],
                order=exp.Order(expressions=[exp.Ordered(this=self.effective(join, "f"))]),
            )
            projections += [named(self.effective(join, "f"), f"{RESERVED}at"), named(newest, EVENT)]
        select = exp.select(*projections).from_(self.relation(join, "f")).where(both(*reach))
        return self._of_labels(select, join) if join.narrow else select

    def _of_labels(self, select: exp.Select, join: AsofJoin) -> exp.Select:
        """Keep the view's rows whose key a label has."""
        on = [exp.EQ(this=col(key.name, "f"), expression=col(alias, "k")) for key, alias in join.keys]
        return select.join(table(LABELS, "k"), on=both(*on), join_type="semi")

    def reach(self, join: AsofJoin) -> Statement | None:
        if join.event is None:
            return None
        relation = self.relation(join, "f")
        relation.set("sample", exp.TableSample(method=exp.var("SYSTEM"), percent=exp.Literal.number(1)))
        columns = [named(col(key.name, "f"), alias) for key, alias in join.keys]
        # Some of the rows of some of the blocks: one block after the other would hold few keys of a sorted table.
        sample = exp.select(exp.Star()).from_(exp.select(*columns).from_(relation).subquery("f"))
        size = exp.Literal.number(_SAMPLE)
        sample.args["from_"].this.set("sample", exp.TableSample(method=exp.var("RESERVOIR"), size=size))
        aliases = [alias for _, alias in join.keys]
        # The labels are looked up in the sample and not it in them: a hash of ten thousand rows is made at once.
        found = exp.select(*(col(alias, "l") for alias in aliases)).distinct().from_(table(LABELS, "l"))
        found = found.join(table("sampled", "s"), on=_same(aliases, "l", "s"), join_type="semi")
        known = exp.Exists(
            this=exp.select(exp.Literal.number(1)).from_(table("found", "l")).where(_same(aliases, "l", "s"))
        )
        share = exp.select(exp.Avg(this=exp.cast(known, exp.DataType.build("INT")))).from_(table("sampled", "s"))
        for name, query in (("sampled", sample), ("found", found)):
            share = share.with_(exp.to_identifier(name, quoted=True), as_=query, materialized=True, copy=False)
        return Statement(sql=self.sql(share))

    def _rows_of_match(self, join: AsofJoin) -> tuple[exp.Expression, list[exp.Expression]]:
        """The join from the match back to the view's rows, and what else those rows must satisfy."""
        assert join.event is not None
        on = [self.keys_equal(join, "m", "f"), exp.EQ(this=col(EVENT, "m"), expression=col(join.event.name, "f"))]
        where = self.fresh(join, self.utc_event("m", join), col(TIME, "m"))
        if join.available is not None:
            # Restatements of one event: those that came later than the label are not there yet.
            where += [
                not_null(col(join.available.name, "f")),
                exp.LTE(this=self.effective(join, "f"), expression=self.seen(join, "m")),
            ]
        return both(*on), where

    def _fetch(self, plan: Plan, join: AsofJoin, match: str) -> exp.Select:
        on, where = self._rows_of_match(join)
        select = exp.select(col(ID, "m"), *self._event_columns(plan, join)).select(
            *self.feature_values(plan, join, "f", col(TIME, "m"))
        )
        select = select.from_(table(match, "m")).join(self.relation(join, "f"), on=on, join_type="inner")
        return select.where(both(*where)) if where else select

    def _event_columns(self, plan: Plan, join: AsofJoin) -> list[exp.Expression]:
        return [named(self.utc_event("m", join), EVENT)] if isinstance(plan.spine, Entities) else []

    def _resolve(self, plan: Plan, join: AsofJoin, match: str) -> tuple[Statement, ...]:
        """Rule 3, for the labels that got more than one row; with none, every statement here is a no-op."""
        rows, tied, ranked = self.rows_name(join), f"{join.name}__tied", f"{join.name}__ranked"
        declared = self.greatest_first(join.order, "f") or [exp.Ordered(this=exp.Literal.number(1))]
        level = exp.Window(this=call("DENSE_RANK"), partition_by=[col(ID, "m")], order=exp.Order(expressions=declared))
        content = exp.Window(
            this=call("DENSE_RANK"),
            partition_by=[col(ID, "m")],
            order=exp.Order(expressions=self.tie_order(join, "f")),
        )
        select = self._ranked(plan, join, match, tied, named(level, LEVEL), named(content, CONTENT))
        names = [ID] + ([EVENT] if isinstance(plan.spine, Entities) else [])
        names += list(dict.fromkeys(feature.source for feature in join.features))
        names += [VALID_TO] if isinstance(plan.spine, Entities) and join.valid_to else []
        winners = (
            exp.select(*(col(name) for name in names))
            .from_(table(ranked))
            .where(exp.EQ(this=col(RANK), expression=exp.Literal.number(1)))
        )
        losers = exp.Delete(
            this=table(rows),
            where=exp.Where(this=exp.In(this=col(ID), query=exp.select(col(ID)).from_(table(tied)).subquery())),
        )
        insert = exp.Insert(
            this=exp.Schema(this=table(rows), expressions=[exp.to_identifier(name, quoted=True) for name in names]),
            expression=winners,
        )
        return (
            Statement(sql=self.create(tied, self._several(join, rows, match)), comment=self._tie_comment(join)),
            Statement(sql=self.create(ranked, select), comment=self._rank_comment(join)),
            Statement(sql=self.sql(losers), comment=f"{join.name}: of the tied rows the first alone stays."),
            Statement(sql=self.sql(insert)),
        )

    def _tie_comment(self, join: AsofJoin) -> str:
        return f"{join.name}: resolve ties, where there are any (rule 3)."

    def _rank_comment(self, join: AsofJoin) -> str:
        declared = "".join(f"{column.name}, then " for column in join.order)
        return (
            f"{join.name}: rank the tied rows by {declared}the content; the greatest comes first, NULL last.\n"
            f"{LEVEL} and {CONTENT} tell the report which ties the content alone has broken."
        )

    def _several(self, join: AsofJoin, rows: str, match: str) -> exp.Select:
        """The labels that got more than one row; two counts tell for nothing that there are none."""
        found = exp.select(exp.Count(this=exp.Star())).from_(table(rows)).subquery()
        matched = exp.select(exp.Count(this=exp.Star())).from_(table(match, "m"))
        fresh = self.fresh(join, self.utc_event("m", join), col(TIME, "m"))
        matched = matched.where(both(*fresh)) if fresh else matched
        several = exp.GT(this=exp.Count(this=exp.Star()), expression=exp.Literal.number(1))
        select = exp.select(col(ID)).from_(table(rows)).where(exp.NEQ(this=found, expression=matched.subquery()))
        return select.group_by(col(ID)).having(several)

    def _ranked(self, plan: Plan, join: AsofJoin, match: str, tied: str, *more: exp.Expression) -> exp.Select:
        """The rows of those labels, best first."""
        on, where = self._rows_of_match(join)
        rank = exp.Window(
            this=exp.RowNumber(), partition_by=[col(ID, "m")], order=exp.Order(expressions=self.tie_order(join, "f"))
        )
        select = (
            exp.select(
                col(ID, "m"),
                named(rank, RANK),
                *more,
                *self._event_columns(plan, join),
                *self.feature_values(plan, join, "f", col(TIME, "m")),
            )
            .from_(table(match, "m"))
            .join(table(tied, "t"), on=exp.EQ(this=col(ID, "t"), expression=col(ID, "m")), join_type="inner")
            .join(self.relation(join, "f"), on=on, join_type="inner")
        )
        return select.where(both(*where)) if where else select

    # --- the statement -------------------------------------------------------------------------------------------

    def statement_ctes(self, plan: Plan, join: AsofJoin) -> list[Cte]:
        """Match, fetch and resolve as in the script, but for the cut to the labels' times, which needs variables."""
        served = [] if join.ledger is None else [Cte(self.labels_name(join), self.served_labels(join), reused=True)]
        if join.event is None:
            return [*served, self.only_rows(plan, join)]
        first = self._matched_by(plan, join)
        match, fetched, tied = self.match_name(first), f"{join.name}__fetched", f"{join.name}__tied"
        matched = Cte(match, self._match(join, cut=False), comment=self._match_comment(join), reused=True)
        values = dict.fromkeys(feature.source for feature in join.features)
        rank = named(exp.Literal.number(1), RANK)
        alone = exp.select(col(ID, "r"), rank, *(col(value, "r") for value in values)).from_(table(fetched, "r"))
        tie = exp.EQ(this=col(ID, "t"), expression=col(ID, "r"))
        alone = alone.join(table(tied, "t"), on=tie, join_type="anti")
        rows = exp.union(alone, self._ranked(plan, join, match, tied), distinct=False, copy=False)
        return [
            *served,
            *((matched,) if first is join else ()),
            Cte(fetched, self._fetch(plan, join, match), comment=self._fetch_comment(join), reused=True),
            Cte(tied, self._several(join, fetched, match), comment=self._tie_comment(join), reused=True),
            Cte(self.rows_name(join), rows),
        ]

    def fail(self, message: exp.Expression) -> exp.Expression:
        return call("ERROR", message)

    # --- the report ----------------------------------------------------------------------------------------------

    def _report(self, plan: Plan, join: AsofJoin) -> JoinReport | None:
        """Counts for the report of a training set; a snapshot is counted by its export."""
        if isinstance(plan.spine, Entities):
            return None
        rows, match = self.rows_name(join), self.match_name(self._matched_by(plan, join))
        counts: list[Any] = [exp.Count(this=exp.Star())]
        counts += [exp.Count(this=col(feature.source)) for feature in join.features]
        matched = Statement(sql=self.sql(exp.select(*counts).from_(table(rows))))
        if join.event is None:
            return JoinReport(join=join, matched=matched, expired=None, unusable=None, ties=None, ages=None)
        age = call("EPOCH_US", exp.Sub(this=col(TIME, "m"), expression=self.utc_event("m", join)))
        quantiles = exp.Array(expressions=[exp.Literal.number(q) for q in ("0", "0.5", "0.9", "0.99", "1")])
        # Timestamps may be infinite and match as such, but have no distance.
        finite = [call("ISFINITE", time) for time in (col(TIME, "m"), self.utc_event("m", join))]
        ages = (
            exp.select(call("QUANTILE_DISC", age, quantiles))
            .from_(table(match, "m"))
            .where(both(*finite, *self.fresh(join, self.utc_event("m", join), col(TIME, "m"))))
        )
        unusable = (
            exp.select(exp.Count(this=exp.Star()))
            .from_(self.relation(join, "f"))
            .where(
                exp.Not(this=exp.paren(both(*(not_null(col(c.name, "f")) for c in (join.event, join.available) if c))))
            )
        )
        undeclared = both(
            exp.EQ(this=col(LEVEL), expression=exp.Literal.number(1)),
            exp.GT(this=col(CONTENT), expression=exp.Literal.number(1)),
        )
        ranked = table(f"{join.name}__ranked")
        ties = exp.select(exp.Count(this=exp.Distinct(expressions=[col(ID)]))).from_(ranked).where(undeclared)
        tied = exp.select(col(ID)).distinct().from_(ranked.copy()).where(undeclared.copy()).order_by(col(ID))
        return JoinReport(
            join=join,
            matched=matched,
            expired=self._expired(join, match) if join.ttl is not None else None,
            unusable=Statement(sql=self.sql(unusable)),
            ties=Statement(sql=self.sql(ties)),
            tied=Statement(sql=self.sql(tied)),
            ages=Statement(sql=self.sql(ages)),
        )

    def _expired(self, join: AsofJoin, match: str) -> Statement:
        """Labels whose newest visible row is too old: matched by one, or with rows only before the match's reach."""
        stale = exp.Not(this=exp.paren(both(*self.fresh(join, self.utc_event("m", join), col(TIME, "m")))))
        matched = exp.select(exp.Count(this=exp.Star())).from_(table(match, "m")).where(stale)
        first = call("GETVARIABLE", exp.Literal.string(FIRST))
        assert join.ttl is not None
        before = exp.LT(this=self.event(join, "f"), expression=self.shift(first, -join.ttl))
        older = (
            exp.select(*self.view_keys(join, "f"), named(exp.Min(this=self.effective(join, "f")), f"{RESERVED}at"))
            .from_(self.relation(join, "f"))
            .where(both(self.usable(join, "f"), before))
            .group_by(*(col(key.name, "f") for key, _ in join.keys))
        )
        on: list[exp.Expression] = [
            exp.EQ(this=col(alias, "l"), expression=col(key_alias(position), "f"))
            for position, (_, alias) in enumerate(join.keys)
        ]
        on.append(exp.GTE(this=self.seen(join, "l"), expression=col(f"{RESERVED}at", "f")))
        unmatched = exp.Not(this=exp.In(this=col(ID, "l"), query=exp.select(col(ID)).from_(table(match)).subquery()))
        beyond = (
            exp.select(exp.Count(this=exp.Star()))
            .from_(self.labels_of(join, "l"))
            .join(older.subquery("f"), on=both(*on), join_type="inner")
            .where(unmatched)
        )
        total = exp.Add(this=matched.subquery(), expression=beyond.subquery())
        return Statement(sql=self.sql(exp.select(total)))


def _same(names: Sequence[str], one: str, other: str) -> exp.Expression:
    return both(*(exp.EQ(this=col(name, one), expression=col(name, other)) for name in names))


def _moments(join: AsofJoin) -> tuple[object, ...]:
    """What the match of a join depends on."""
    served = (join.ledger, join.view) if join.ledger is not None else None
    return (join.relation, join.keys, join.event, join.available, join.wait, join.ttl, served)


DIALECT = DuckDB()
