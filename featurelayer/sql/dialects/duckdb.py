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

from sqlglot import exp

from featurelayer.model import Column, DType, Kind
from featurelayer.sql.ast import all_of, call, col, key_alias, table, with_alias
from featurelayer.sql.dialects._duckdb_json import json_text
from featurelayer.sql.dialects.base import Dialect
from featurelayer.sql.join_rules import LABELS
from featurelayer.sql.measures import Measures, double_literal, int_literal, share_array
from featurelayer.sql.plan import EVENT, ID, RESERVED, TIME, AsofJoin, Plan, Statement, Step
from featurelayer.sql.scripts.match_fetch import MatchFetchScript

FIRST, LAST = f"{RESERVED}first", f"{RESERVED}last"
# Rows of a view sampled to estimate the share that the labels' keys reach.
_SAMPLE = 10_000


class _DuckDBMeasures(Measures):
    """One pass of a t-digest for all quantiles, one search per value for all bins."""

    def quantiles(self, value: exp.Expression, shares: Sequence[float]) -> exp.Expression:
        return call("APPROX_QUANTILE", value, share_array(shares))

    def ranks(self, value: exp.Expression, shares: Sequence[float]) -> exp.Expression:
        return call("QUANTILE_DISC", value, share_array(shares))

    def bins(self, value: exp.Expression, edges: Sequence[float]) -> exp.Expression:
        histogram = call("HISTOGRAM", value, exp.Array(expressions=[double_literal(edge) for edge in edges]))
        return call("MAP_VALUES", histogram)

    def sample(self, columns: Sequence[exp.Expression], one_in: int) -> exp.Expression:
        remainder = exp.Mod(this=call("HASH", *columns), expression=int_literal(one_in))
        return exp.EQ(this=remainder, expression=int_literal(0))


class DuckDBScript(MatchFetchScript):
    """A thin ASOF match, a fetch by hash join, ties resolved where there are any."""

    def spine_step(self, plan: Plan) -> Step:
        statements = [*super().spine_step(plan).statements]
        if any(join.event is not None for join in plan.joins):
            why = "The range of the labels' times: rows that no label can see are not read."
            statements += [self._set_variable(FIRST, exp.Min, why), self._set_variable(LAST, exp.Max)]
        return Step(name="labels", statements=tuple(statements))

    def _set_variable(self, name: str, aggregate: type[exp.AggFunc], comment: str = "") -> Statement:
        bound = exp.select(aggregate(this=col(TIME))).from_(table(LABELS)).subquery()
        return Statement(sql=f"SET VARIABLE {name} = {self.dialect.sql(bound)}", comment=comment)

    def match(self, plan: Plan, join: AsofJoin, *, cut: bool) -> exp.Query:  # noqa: ARG002 (one form for all plans)
        """Return label id, time, keys and the winner's event time, by a thin ASOF join."""
        assert join.event is not None
        times = dict.fromkeys((TIME, self.rules.visible_until(join, "l").name))
        labels = (
            exp.select(col(ID, "l"), *(col(time, "l") for time in times), *self.rules.label_keys(join, "l"))
            .from_(self.rules.labels_of(join, "l"))
            .where(self.rules.is_label_known(join, "l"))
        )
        keys = [key_alias(position) for position in range(len(join.keys))]
        on: list[exp.Expression] = [exp.EQ(this=col(key, "l"), expression=col(key, "f")) for key in keys]
        if join.available is None:
            # Both clocks run in step: shift the labels instead of ten million rows.
            moment, at = self.utc_event("f", join), self.dialect.shift(self.rules.visible_until(join, "l"), -join.wait)
        else:
            moment, at = col(f"{RESERVED}at", "f"), self.rules.visible_until(join, "l")
        on.append(exp.GTE(this=at, expression=moment))
        asof = exp.Join(this=self._moments_in_reach(join, cut=cut).subquery("f"), method="ASOF", on=all_of(*on))
        select = exp.select(
            col(ID, "l"), *(col(time, "l") for time in times), *(col(key, "f") for key in keys), col(EVENT, "f")
        )
        select = select.from_(labels.subquery("l"))
        select.append("joins", asof)
        return select

    def _moments_in_reach(self, join: AsofJoin, *, cut: bool) -> exp.Select:
        """Select the view's keys and times; `cut` limits them to the time range the labels can see."""
        assert join.event is not None
        reach = [self.rules.is_usable(join, "f")]
        if cut:
            reach += [exp.LTE(this=self.rules.event_time(join, "f"), expression=self.last_label())]
            reach += self.rules.freshness(join, self.rules.event_time(join, "f"), self.first_label())
        projections = self.rules.view_keys(join, "f")
        if join.available is None:
            projections.append(with_alias(col(join.event.name, "f"), EVENT))
        else:
            # Rows of one moment share the maximum, so the match may pick any of them.
            newest = exp.Window(
                this=exp.Max(this=col(join.event.name, "f")),
                partition_by=[col(key.name, "f") for key, _ in join.keys],
                order=exp.Order(expressions=[exp.Ordered(this=self.rules.effective_time(join, "f"))]),
            )
            projections += [
                with_alias(self.rules.effective_time(join, "f"), f"{RESERVED}at"),
                with_alias(newest, EVENT),
            ]
        select = exp.select(*projections).from_(self.rules.relation(join, "f")).where(all_of(*reach))
        return self._filter_by_labels(select, join) if join.narrow else select

    def _filter_by_labels(self, select: exp.Select, join: AsofJoin) -> exp.Select:
        """Keep the view's rows whose key appears in the labels."""
        on = [exp.EQ(this=col(key.name, "f"), expression=col(alias, "k")) for key, alias in join.keys]
        return select.join(table(LABELS, "k"), on=all_of(*on), join_type="semi")

    def reach(self, join: AsofJoin) -> Statement | None:
        if join.event is None:
            return None
        relation = self.rules.relation(join, "f")
        relation.set("sample", exp.TableSample(method=exp.var("SYSTEM"), percent=exp.Literal.number(1)))
        columns = [with_alias(col(key.name, "f"), alias) for key, alias in join.keys]
        # Sample rows from many blocks: consecutive blocks of a sorted table hold few keys.
        sample = exp.select(exp.Star()).from_(exp.select(*columns).from_(relation).subquery("f"))
        size = exp.Literal.number(_SAMPLE)
        sample.args["from_"].this.set("sample", exp.TableSample(method=exp.var("RESERVOIR"), size=size))
        aliases = [alias for _, alias in join.keys]
        # Probe the sample with the labels, not the reverse: hashing ten thousand rows is instant.
        matched = exp.select(*(col(alias, "l") for alias in aliases)).distinct().from_(table(LABELS, "l"))
        matched = matched.join(table("sampled", "s"), on=_same(aliases, "l", "s"), join_type="semi")
        has_label = exp.Exists(
            this=exp.select(exp.Literal.number(1)).from_(table("found", "l")).where(_same(aliases, "l", "s"))
        )
        share = exp.select(exp.Avg(this=exp.cast(has_label, exp.DataType.build("INT")))).from_(table("sampled", "s"))
        for name, query in (("sampled", sample), ("found", matched)):
            share = share.with_(exp.to_identifier(name, quoted=True), as_=query, materialized=True, copy=False)
        return Statement(sql=self.dialect.sql(share))

    def first_label(self) -> exp.Expression:
        return call("GETVARIABLE", exp.Literal.string(FIRST))

    def last_label(self) -> exp.Expression:
        return call("GETVARIABLE", exp.Literal.string(LAST))


class DuckDB(Dialect):
    """DuckDB 1.4.1 and later: a thin ASOF match, a fetch by hash join, ties resolved where there are any."""

    name = "duckdb"
    text_type = "VARCHAR"
    measures = _DuckDBMeasures()
    script_type = DuckDBScript
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
        value = col(column.name, alias)
        match column.dtype.kind:
            case Kind.TEXT:
                # An ENUM would be ordered by its declaration.
                return [exp.cast(value, self.type(column.dtype))]
            case Kind.ARRAY | Kind.STRUCT | Kind.MAP:
                return [self.canonical_json(value)]
        return super().comparable(column, alias)

    def canonical_json(self, value: exp.Expression) -> exp.Expression:
        # DuckDB's own text quotes some of the text inside, JSON all of it, as every other engine's does.
        return exp.cast(call("TO_JSON", value), self.type(DType(kind=Kind.TEXT)))

    def create(self, name: str, query: exp.Query) -> str:
        create = exp.Create(
            kind="TABLE",
            this=table(name),
            expression=query,
            replace=True,
            properties=exp.Properties(expressions=[exp.TemporaryProperty()]),
        )
        return self.sql(create)

    def micros_between(self, later: exp.Expression, earlier: exp.Expression) -> exp.Expression:
        return call("EPOCH_US", exp.Sub(this=later, expression=earlier))

    def fail(self, message: exp.Expression) -> exp.Expression:
        return call("ERROR", message)


def _same(names: Sequence[str], one: str, other: str) -> exp.Expression:
    return all_of(*(exp.EQ(this=col(name, one), expression=col(name, other)) for name in names))


DIALECT = DuckDB()
