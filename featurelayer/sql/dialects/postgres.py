"""PostgreSQL: match, fetch, resolve, with two ways to match.

*Portable*: labels and the view's moments in one list, sorted by key and time, and a running maximum of the event time
down that list. It always reads the view once, and no skew of keys hurts it.

*Lateral*: for each label the newest moment by an index on the keys and the event time. It reads a few pages per label
and nothing else, so it suits views with such an index and labels far fewer than the view's rows; without the
index it would read the view once per label. The plan chooses between the two (`AsofJoin.probe`), and the
query that decides is `probe`. docs/postgres.md has the measurements.

Facts that shape the text:

- `ORDER BY e DESC` must stay plain: with NULLS LAST no index on (k, e) can be read backwards, twelve times slower.
- A temporary table has no statistics until it is analysed, and the planner then guesses nested loops.
- PostgreSQL silently truncates names to 63 bytes, so longer ones are shortened here, with a digest.
- Text is compared in the order of its bytes (COLLATE "C"), whatever the database's collation.
- A function takes at most 100 arguments, so texts are joined with ||.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlglot import exp

from featurelayer.errors import Problem, UnsupportedByDialect
from featurelayer.identifiers import truncate_identifier
from featurelayer.model import Column, DType, Kind
from featurelayer.sql.ast import all_of, call, col, key_alias, not_null, table, with_alias
from featurelayer.sql.dialects._postgres_json import json_text, refusal, text
from featurelayer.sql.dialects._postgres_probe import probe
from featurelayer.sql.dialects.base import Dialect
from featurelayer.sql.join_rules import LABELS
from featurelayer.sql.measures import Measures, int_literal, share_array
from featurelayer.sql.plan import (
    EVENT,
    ID,
    RESERVED,
    TIME,
    AsofJoin,
    Entities,
    Plan,
    Script,
    Statement,
    Step,
)
from featurelayer.sql.scripts.match_fetch import MatchFetchScript

AT, IS_LABEL = f"{RESERVED}at", f"{RESERVED}is_label"

_INTEGERS = {8: "SMALLINT", 16: "SMALLINT", 32: "INTEGER", 64: "BIGINT"}
_UNSIGNED = {8: "SMALLINT", 16: "INTEGER", 32: "BIGINT", 64: "NUMERIC(20, 0)"}
_UNSIGNED_NATIVE = {8: "int16", 16: "int32", 32: "int64", 64: "decimal(20,0)", 128: "decimal(39,0)"}
_PLAIN = {
    Kind.BOOL: "BOOLEAN",
    Kind.TEXT: "TEXT",
    Kind.BYTES: "BYTEA",
    Kind.DATE: "DATE",
    Kind.TIME: "TIME",
    Kind.TIMESTAMP: "TIMESTAMP",
    Kind.TIMESTAMPTZ: "TIMESTAMPTZ",
    Kind.UUID: "UUID",
    Kind.JSON: "JSONB",
    Kind.INTERVAL: "INTERVAL",
    Kind.UNKNOWN: "NUMERIC",
}


class _PostgresMeasures(Measures):
    """All quantiles in one sort; there is no approximate count of distinct values without an extension."""

    def distinct(self, value: exp.Expression) -> exp.Expression:
        return exp.Count(this=exp.Distinct(expressions=[value]))

    def quantiles(self, value: exp.Expression, shares: Sequence[float]) -> exp.Expression:
        ordered = exp.Order(expressions=[exp.Ordered(this=value)])
        return exp.WithinGroup(this=exp.PercentileDisc(this=share_array(shares)), expression=ordered)

    def sample(self, columns: Sequence[exp.Expression], one_in: int) -> exp.Expression:
        text = exp.cast(exp.Anonymous(this="ROW", expressions=list(columns)), exp.DataType.build("TEXT"))
        remainder = exp.Mod(this=call("HASHTEXTEXTENDED", text, int_literal(0)), expression=int_literal(one_in))
        return exp.EQ(this=remainder, expression=int_literal(0))

    def length(self, value: exp.Expression) -> exp.Expression:
        return call("CARDINALITY", value)


class PostgresScript(MatchFetchScript):
    """A script that sorts or looks rows up, as `AsofJoin.probe` chooses."""

    def create_statements(self, name: str, query: exp.Query, comment: str = "") -> tuple[Statement, ...]:
        analyze = Statement(sql=f"ANALYZE {self.dialect.sql(table(name))}")
        return (*super().create_statements(name, query, comment), analyze)

    def compile_into_table(self, plan: Plan, name: str) -> Script:
        # json has no equality, so values to be compared are stored as text.
        joins = tuple(
            exp.Alias(this=text(col(feature.name, "q")), alias=exp.to_identifier(feature.name, quoted=True))
            if feature.dtype.kind in (Kind.JSON, Kind.UNKNOWN)
            else col(feature.name, "q")
            for join in plan.joins
            for feature in join.features
        )
        script = self.compile(plan)
        rows = exp.select(col(ID, "q"), *joins).from_(self.query(plan).subquery("q"))
        keep = Step(name=name, statements=(Statement(sql=self.dialect.create(name, rows)),))
        return replace(script, steps=(*script.steps, keep))

    def probe(self, join: AsofJoin) -> Statement | None:
        if join.event is None:
            return None
        relation = self.dialect.sql(exp.to_table(join.relation, dialect=self.dialect.name))
        return Statement(sql=self.dialect.sql(probe(relation, join)))

    def match(self, plan: Plan, join: AsofJoin, *, cut: bool) -> exp.Query:
        if join.probe and not isinstance(plan.spine, Entities):
            return self._lateral(join)
        return self._running(join, cut=cut)

    def _times(self, join: AsofJoin) -> list[str]:
        """Return the label times that a match keeps."""
        return list(dict.fromkeys((TIME, self.rules.visible_until(join, "l").name)))

    def _lateral(self, join: AsofJoin) -> exp.Select:
        """Look up each label's newest visible event by an index on the keys and the event time."""
        assert join.event is not None
        raw = col(join.event.name, "f")
        conditions: list[exp.Expression] = [
            exp.EQ(this=col(key.name, "f"), expression=col(label, "l")) for key, label in join.keys
        ]
        latest = self._raw_time(self.dialect.shift(self.rules.visible_until(join, "l"), -join.wait), join.event)
        conditions.append(exp.LTE(this=raw, expression=latest))
        if join.available is not None:
            conditions.append(not_null(col(join.available.name, "f")))
            conditions.append(
                exp.LTE(this=self.rules.effective_time(join, "f"), expression=self.rules.visible_until(join, "l"))
            )
        newest = (
            exp.select(with_alias(raw.copy(), EVENT)).from_(self.rules.relation(join, "f")).where(all_of(*conditions))
        )
        # No NULL is left, so use the NULL order of the index.
        newest = newest.order_by(exp.Ordered(this=raw.copy(), desc=True, nulls_first=True)).limit(1)
        lateral = exp.Lateral(this=newest.subquery(), alias=exp.TableAlias(this=exp.to_identifier("f", quoted=True)))
        select = exp.select(
            col(ID, "l"),
            *(col(time, "l") for time in self._times(join)),
            *self.rules.label_keys(join, "l"),
            col(EVENT, "f"),
        ).from_(self.rules.labels_of(join, "l"))
        select.append("joins", exp.Join(this=lateral, kind="CROSS"))
        return select.where(self.rules.is_label_known(join, "l"))

    def _running(self, join: AsofJoin, *, cut: bool) -> exp.Select:
        """Compute a running maximum of the event time over the view's moments and the labels."""
        keys = [key_alias(position) for position in range(len(join.keys))]
        newest = exp.Window(
            this=exp.Max(this=col(EVENT, "t")),
            partition_by=[col(key, "t") for key in keys],
            order=exp.Order(expressions=[exp.Ordered(this=col(AT, "t")), exp.Ordered(this=col(IS_LABEL, "t"))]),
            spec=exp.WindowSpec(kind="ROWS", start="UNBOUNDED", start_side="PRECEDING", end="CURRENT ROW"),
        )
        columns = [ID, *self._times(join), *keys]
        timeline = exp.union(self._moments_in_reach(join, cut=cut), self._labels_in_line(join), distinct=False)
        running = exp.select(*(col(name, "t") for name in columns), col(IS_LABEL, "t"), with_alias(newest, EVENT))
        running = running.from_(timeline.subquery("t"))
        is_label = exp.EQ(this=col(IS_LABEL, "m"), expression=exp.Literal.number(1))
        return (
            exp.select(*(col(name, "m") for name in columns), col(EVENT, "m"))
            .from_(running.subquery("m"))
            .where(all_of(is_label, not_null(col(EVENT, "m"))))
        )

    def _moments_in_reach(self, join: AsofJoin, *, cut: bool) -> exp.Select:
        """Select the view's rows of the labels' keys; `cut` limits them to the time range the labels can see."""
        assert join.event is not None
        reach = [self.rules.is_usable(join, "f")]
        if cut:
            reach.append(exp.LTE(this=self.rules.event_time(join, "f"), expression=self.last_label()))
            reach += self.rules.freshness(join, self.rules.event_time(join, "f"), self.first_label())
        if join.narrow:
            same = (exp.EQ(this=col(label, "k"), expression=col(key.name, "f")) for key, label in join.keys)
            labels = exp.select(exp.Literal.number(1)).from_(table(LABELS, "k")).where(all_of(*same))
            reach.append(exp.Exists(this=labels))
        at = self.rules.event_time(join, "f") if join.available is None else self.rules.effective_time(join, "f")
        null = exp.cast(exp.Null(), exp.DataType.build("TIMESTAMP"))
        return (
            exp.select(
                with_alias(exp.cast(exp.Null(), exp.DataType.build("BIGINT")), ID),
                *(with_alias(null.copy(), time) for time in self._times(join)),
                *self.rules.view_keys(join, "f"),
                with_alias(at, AT),
                with_alias(exp.Literal.number(0), IS_LABEL),
                with_alias(col(join.event.name, "f"), EVENT),
            )
            .from_(self.rules.relation(join, "f"))
            .where(all_of(*reach))
        )

    def _labels_in_line(self, join: AsofJoin) -> exp.Select:
        assert join.event is not None
        # Both clocks run in step: shift the labels, which are fewer.
        at = (
            self.rules.visible_until(join, "l")
            if join.available is not None
            else self.dialect.shift(self.rules.visible_until(join, "l"), -join.wait)
        )
        return (
            exp.select(
                col(ID, "l"),
                *(col(time, "l") for time in self._times(join)),
                *self.rules.label_keys(join, "l"),
                with_alias(at, AT),
                with_alias(exp.Literal.number(1), IS_LABEL),
                with_alias(exp.cast(exp.Null(), self.dialect.type(join.event.dtype)), EVENT),
            )
            .from_(self.rules.labels_of(join, "l"))
            .where(self.rules.is_label_known(join, "l"))
        )

    def _raw_time(self, at: exp.Expression, event: Column) -> exp.Expression:
        """Convert a naive UTC time to the event column's type, rounded down, so that the column's index can be used."""
        if event.dtype.kind is Kind.TIMESTAMPTZ:
            return exp.AtTimeZone(this=exp.paren(at, copy=False), zone=exp.Literal.string("UTC"))
        return exp.cast(at, exp.DataType.build("DATE")) if event.dtype.kind is Kind.DATE else at


class Postgres(Dialect):
    """PostgreSQL 14 and later."""

    name = "postgres"
    has_try_cast = False
    rounds_floats = False
    measures = _PostgresMeasures()
    script_type = PostgresScript
    session = (Statement(sql="SET TimeZone = 'UTC'", comment="Times without a zone are UTC (rule 8)."),)

    def sql(self, expression: exp.Expression) -> str:
        for node in expression.find_all(exp.Identifier, exp.Concat):
            if isinstance(node, exp.Concat):
                if node is not expression:
                    node.replace(_join_texts(list(node.expressions)))
            elif not node.args.get("quoted") and isinstance(node.parent, exp.Table):
                node.set("this", truncate_identifier(node.name.lower()))  # unquoted names fold to lower case
            else:
                node.set("this", truncate_identifier(node.name))
        return super().sql(expression)

    def type_text(self, dtype: DType) -> str:
        match dtype.kind:
            case Kind.INT:
                return _INTEGERS.get(dtype.bits or 64, "NUMERIC(39, 0)")
            case Kind.UINT:
                return _UNSIGNED.get(dtype.bits or 64, "NUMERIC(39, 0)")
            case Kind.FLOAT:
                return "REAL" if dtype.bits == 32 else "DOUBLE PRECISION"
            case Kind.DECIMAL:
                return f"NUMERIC({dtype.precision}, {dtype.scale})"
            case Kind.ARRAY if dtype.element is not None and dtype.element.kind is not Kind.ARRAY:
                return f"{self.type_text(dtype.element)}[]"
        if dtype.kind not in _PLAIN:
            what = f"PostgreSQL has no columns of {dtype}"
            raise UnsupportedByDialect([Problem(what=what, fix="split it into columns, or cast it to JSON text")])
        return _PLAIN[dtype.kind]

    def native(self, dtype: DType) -> DType:
        match dtype.kind:
            case Kind.INT if dtype.bits in (8, 128):
                return DType.parse("int16" if dtype.bits == 8 else "decimal(39,0)")
            case Kind.UINT:
                return DType.parse(_UNSIGNED_NATIVE[dtype.bits or 64])
        return dtype

    def json_text(self, value: exp.Expression, dtype: DType, *, key: bool) -> exp.Expression | None:
        return json_text(value, dtype, key=key)

    def micros(self, expression: exp.Expression) -> exp.Expression:
        seconds = exp.Extract(this=exp.var("EPOCH"), expression=expression)
        return exp.cast(
            exp.Mul(this=seconds, expression=exp.Literal.number(1_000_000)), exp.DataType.build("BIGINT"), copy=False
        )

    def micros_between(self, later: exp.Expression, earlier: exp.Expression) -> exp.Expression:
        return self.micros(exp.paren(exp.Sub(this=later, expression=earlier), copy=False))

    def comparable(self, column: Column, alias: str) -> list[exp.Expression]:
        value = col(column.name, alias)
        match column.dtype.kind:
            case Kind.TEXT | Kind.JSON | Kind.UNKNOWN:
                return [_collate_bytes(text(value))]
            case Kind.ARRAY:
                as_json = json_text(value, column.dtype, key=False)
                return [_collate_bytes(exp.Case().when(not_null(value), as_json) if as_json else text(value))]
            case Kind.FLOAT | Kind.INTERVAL:
                # 0.0 and -0.0 compare equal, as do a month and 30 days; their text differs.
                return [value, _collate_bytes(text(value))]
        return [value]

    def fail(self, message: exp.Expression) -> exp.Expression:
        return refusal(message, exp.DataType.build("INT"))


def _join_texts(parts: list[exp.Expression]) -> exp.Expression:
    """Join texts with || as a balanced tree: a chain of hundreds would nest as deep."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return exp.paren(exp.DPipe(this=_join_texts(parts[:middle]), expression=_join_texts(parts[middle:])), copy=False)


def _collate_bytes(value: exp.Expression) -> exp.Expression:
    return exp.Collate(this=value, expression=exp.to_identifier("C", quoted=True))


DIALECT = Postgres()
