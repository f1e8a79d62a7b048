"""Spark: the labels and the view's rows in one list, and the best row so far at every label: one shuffle per view.

Measured on 1M labels x 10M rows (benchmarks/spark.py). The rows and the labels of a key are sorted by time; a running
maximum over whole rows, compared by event time, then by what breaks ties, is at each label the row that it gets. So
nothing is matched first and fetched later, which would shuffle the view twice, and the work grows with the rows and
not with their pairs, so that a key with a fifth of all rows costs a fifth of the time and no more. Facts that shape
the statements:

- Spark has no temporary tables; a cached temporary view is one, and ends with the session. The labels are cached before
  anything joins them, because their numbers must be the same each time.
- A running maximum keeps a NULL inside a row that wins; `last_value(... ignore nulls)` by feature would not.
- Times are compared as TIMESTAMP_NTZ, made of an instant's microseconds: no session zone has a say in it. Only the cut
  to the labels' range compares the column as it is, a day wider than needed, so that files and partitions are skipped.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect as SqlglotDialect
from sqlglot.generator import Generator

from featurelayer.errors import Problem, UnsupportedByDialect
from featurelayer.model import Column, DType, Kind
from featurelayer.sql.ast import all_of, col, key_alias, not_null, table, with_alias
from featurelayer.sql.dialects._spark_json import json_text
from featurelayer.sql.dialects._spark_report import SparkReport
from featurelayer.sql.dialects.base import Cte
from featurelayer.sql.generator import sqlglot_dialect
from featurelayer.sql.plan import EVENT, ID, RESERVED, TIME, AsofJoin, Entities, Labels, Plan, Script, Statement, Step
from featurelayer.sql.spine import LABELS, RANK, SPINE_COMMENT

NUMBERED = f"{RESERVED}numbered"
ROW, AT = f"{RESERVED}row", f"{RESERVED}at"
TIED, HIGH, LOW = (f"{RESERVED}{name}" for name in ("tied", "high", "low"))
_PART, _FIRST, _ROWS, _SHIFT = (f"{RESERVED}{name}" for name in ("part", "first", "rows", "shift"))
# monotonically_increasing_id() has the partition above these bits and the row's place in it below.
_PLACE_BITS = 33
_SIZES = {8: "TINYINT", 16: "SMALLINT", 32: "INT", 64: "BIGINT", 128: "DECIMAL(38, 0)"}
_WIDER = {8: "SMALLINT", 16: "INT", 32: "BIGINT", 64: "DECIMAL(20, 0)", 128: "DECIMAL(38, 0)"}
_UNSIGNED_NATIVE = {8: "int16", 16: "int32", 32: "int64", 64: "decimal(20,0)", 128: "decimal(38,0)"}
_NOT_ORDERED = (Kind.MAP,)
EPOCH = "1970-01-01 00:00:00"


class Spark(SparkReport):
    """Spark 3.4 and later, with TIMESTAMP_NTZ for naive times: a running maximum over whole rows."""

    name = "spark"
    text_type = "STRING"
    session = (
        Statement(sql="SET TIME ZONE 'UTC'", comment="Times without a zone are UTC (rule 8)."),
        Statement(sql="SET spark.sql.ansi.enabled = true", comment="What can't be cast is an error, never a NULL."),
    )

    # --- words ---------------------------------------------------------------------------------------------------

    @cached_property
    def _writer(self) -> SqlglotDialect:
        found = sqlglot_dialect(self.name)
        found.generator_class = _spark_generator(found.generator_class)
        return found

    def type_text(self, dtype: DType) -> str:
        match dtype.kind:
            case Kind.INT:
                return _SIZES[dtype.bits or 64]
            case Kind.UINT:
                return _WIDER[dtype.bits or 64]
            case Kind.FLOAT:
                return "FLOAT" if dtype.bits == 32 else "DOUBLE"
            case Kind.TIMESTAMP:
                return "TIMESTAMP_NTZ"
            case Kind.TIMESTAMPTZ:
                return "TIMESTAMP"
            case Kind.BYTES:
                return "BINARY"
            case Kind.UUID | Kind.JSON | Kind.TIME:
                return "STRING"
            case _:
                return super().type_text(dtype)

    def native(self, dtype: DType) -> DType:
        match dtype.kind:
            case Kind.INT if dtype.bits == 128:
                return DType.parse("decimal(38,0)")
            case Kind.UINT:
                return DType.parse(_UNSIGNED_NATIVE[dtype.bits or 64])
            case Kind.UUID | Kind.TIME:
                return DType(kind=Kind.TEXT)
        return dtype

    def instant(self, expression: exp.Expression) -> exp.Expression:
        return exp.cast(expression, exp.DataType.build("TIMESTAMPTZ"))

    def utc(self, expression: exp.Expression, dtype: DType, *, nanoseconds: bool = False) -> exp.Expression:
        if dtype.kind is not Kind.TIMESTAMPTZ:
            return super().utc(expression, dtype, nanoseconds=nanoseconds)
        epoch = exp.cast(exp.Literal.string(EPOCH), exp.DataType.build("TIMESTAMP"))
        micros = exp.Anonymous(this="UNIX_MICROS", expressions=[expression])
        return exp.Anonymous(this="TIMESTAMPADD", expressions=[exp.var("MICROSECOND"), micros, epoch])

    def micros(self, expression: exp.Expression) -> exp.Expression:
        instant = exp.cast(expression, exp.DataType.build("TIMESTAMPTZ"))
        return exp.Anonymous(this="UNIX_MICROS", expressions=[instant])

    def json_text(self, value: exp.Expression, dtype: DType, *, key: bool) -> exp.Expression | None:
        return json_text(value, dtype, key=key)

    def finer_than_microseconds(self, value: exp.Expression) -> exp.Expression:  # noqa: ARG002 (no such type)
        return exp.false()

    def create(self, name: str, query: exp.Query) -> str:
        return self.sql(exp.Cache(this=table(name), expression=query))

    def row_number(self) -> exp.Expression:
        """A number that grows along the rows, with gaps; `spine_step` closes them."""
        return exp.Anonymous(this="MONOTONICALLY_INCREASING_ID")

    def fail(self, message: exp.Expression) -> exp.Expression:
        return exp.cast(exp.Anonymous(this="RAISE_ERROR", expressions=[message]), exp.DataType.build("INT"))

    def comparable(self, column: Column, alias: str) -> list[exp.Expression]:
        value = col(column.name, alias)
        if column.dtype.kind in (Kind.ARRAY, Kind.STRUCT, Kind.MAP):
            keep = exp.Anonymous(
                this="MAP", expressions=[exp.Literal.string("ignoreNullFields"), exp.Literal.string("false")]
            )
            return [exp.Anonymous(this="TO_JSON", expressions=[value, keep])]
        values = super().comparable(column, alias)
        if column.dtype.kind is Kind.FLOAT:
            # 0.0 and -0.0 are equal and not the same; their text tells them apart, and is made for zeros only.
            zero = exp.EQ(this=value.copy(), expression=exp.Literal.number(0))
            text = exp.cast(value.copy(), self.type(DType(kind=Kind.TEXT)))
            values.append(exp.Case().when(zero, text))
        return values

    # --- the spine -----------------------------------------------------------------------------------------------

    def spine_step(self, plan: Plan) -> Step:
        if isinstance(plan.spine, Entities):
            return super().spine_step(plan)
        one = exp.Literal.number(_PLACE_BITS)
        part = exp.Anonymous(this="SHIFTRIGHT", expressions=[col(ID), one])
        counted = exp.select(
            with_alias(part, _PART),
            with_alias(exp.Min(this=col(ID)), _FIRST),
            with_alias(exp.Count(this=exp.Star()), _ROWS),
        )
        counted = counted.from_(table(NUMBERED)).group_by(part.copy())
        before = exp.Window(
            this=exp.Sum(this=col(_ROWS)),
            order=exp.Order(expressions=[exp.Ordered(this=col(_PART))]),
            spec=exp.WindowSpec(kind="ROWS", start="UNBOUNDED", start_side="PRECEDING", end="1", end_side="PRECEDING"),
        )
        shift = exp.Sub(this=col(_FIRST), expression=exp.Coalesce(this=before, expressions=[exp.Literal.number(0)]))
        shifts = exp.select(col(_PART), with_alias(shift, _SHIFT)).from_(counted.subquery("counted"))
        same = exp.EQ(
            this=exp.Anonymous(this="SHIFTRIGHT", expressions=[col(ID, "n"), one.copy()]), expression=col(_PART, "p")
        )
        times = [] if plan.spine.time is None else [col(TIME, "n")]
        number = with_alias(exp.Sub(this=col(ID, "n"), expression=col(_SHIFT, "p")), ID)
        dense = exp.select(number, *times, *(col(column.alias, "n") for column in plan.spine.spine_columns))
        dense = dense.from_(table(NUMBERED, "n")).join(shifts.subquery("p"), on=same, join_type="inner")
        if plan.spine.row is not None:
            only = exp.EQ(this=col(ID), expression=exp.Literal.number(plan.spine.row))
            dense = exp.select(exp.Star()).from_(dense.subquery("labels")).where(only)
        numbered = Statement(
            sql=self.create(NUMBERED, self.spine(plan)),
            comment="The labels as they come, each with a number that grows.",
        )
        return Step(
            name="labels", statements=(numbered, Statement(sql=self.create(LABELS, dense), comment=SPINE_COMMENT))
        )

    def _label_spine(self, labels: Labels) -> exp.Select:
        # One row alone is taken after the numbers have been closed up.
        time = labels.time
        projections = [with_alias(self.label_number(labels), ID)]
        if time is not None:
            projections.append(with_alias(self.utc(col(time.alias), time.dtype), TIME))
        columns = (col(column.alias) for column in labels.spine_columns)
        return exp.select(*projections, *columns).from_(self.label_source(labels))

    # --- the script ----------------------------------------------------------------------------------------------

    def compile(self, plan: Plan) -> Script:
        steps = [self.spine_step(plan), *(self._view_step(plan, join) for join in plan.joins)]
        spine = [NUMBERED] if isinstance(plan.spine, Labels) else []
        temporary = [LABELS, *spine]
        for join in plan.joins:
            temporary += [self.rows_name(join), *([] if join.ledger is None else [self.labels_name(join)])]
        comment = "Every label once, in its order, with the features of its rows."
        return self.script(plan, steps, Statement(sql=self.sql(self.query(plan)), comment=comment), temporary)

    def query(self, plan: Plan) -> exp.Select:
        return self.final(plan, rank=True)

    def _view_step(self, plan: Plan, join: AsofJoin) -> Step:
        served: tuple[Statement, ...] = ()
        if join.ledger is not None:
            comment = f"{join.name}: the labels by the export that was being served at their time."
            served = (Statement(sql=self.create(self.labels_name(join), self.labels_as_served(join)), comment=comment),)
        if join.event is None:
            query, comment = self.static_rows(plan, join, rank=True), "static, joined on its keys alone (rule 9)."
        elif isinstance(plan.spine, Entities):
            query, comment = self._snapshot_rows(plan, join), "the newest row of each key (rule 3)."
        else:
            query, comment = self._winners(plan, join), _comment(join)
        rows = Statement(sql=self.create(self.rows_name(join), query), comment=f"{join.name}: {comment}")
        report = None if isinstance(plan.spine, Entities) else self.report(join)
        return Step(name=join.name, statements=(*served, rows), report=report)

    def statement_ctes(self, plan: Plan, join: AsofJoin) -> list[Cte]:
        served = [] if join.ledger is None else [Cte(self.labels_name(join), self.labels_as_served(join))]
        if join.event is None:
            return [*served, self.only_rows(plan, join)]
        rows = self._winners(plan, join, ties=False)
        return [*served, Cte(self.rows_name(join), rows, comment=f"{join.name}: {_comment(join)}")]

    # --- the winners ---------------------------------------------------------------------------------------------

    def _winners(self, plan: Plan, join: AsofJoin, *, ties: bool = True) -> exp.Select:
        """The labels that see any row, with the best of them; rank 2 says that it has expired."""
        keys = [key_alias(position) for position in range(len(join.keys))]
        moments, labels = self._view_moments(join, ties), self._labels_among(join, ties)
        best = [ROW, HIGH, LOW] if ties else [ROW]
        running = [
            with_alias(
                exp.Window(
                    this=exp.Max(this=col(name)),
                    partition_by=[col(key) for key in keys],
                    order=exp.Order(
                        expressions=[exp.Ordered(this=col(AT)), exp.Ordered(this=col(ID), nulls_first=True)]
                    ),
                    spec=exp.WindowSpec(kind="ROWS", start="UNBOUNDED", start_side="PRECEDING", end="CURRENT ROW"),
                ),
                name,
            )
            for name in best
        ]
        timeline = exp.union(moments, labels, distinct=False, copy=False).subquery("t")
        match = exp.select(col(ID), col(TIME), *running).from_(timeline)
        won = exp.select(col(ID, "m"), col(TIME, "m"), *self._fields(join, "m"), *self._tie_flag(ties))
        won = won.from_(match.subquery("m")).where(all_of(not_null(col(ID, "m")), not_null(col(ROW, "m"))))
        fresh = self.fresh(join, col(EVENT, "f"), col(TIME, "f"))
        rank: exp.Expression = exp.Literal.number(1)
        if fresh:
            rank = exp.Case().when(all_of(*fresh), rank).else_(exp.Literal.number(2))
        more = [col(TIED, "f")] if ties else []
        select = exp.select(col(ID, "f"), with_alias(rank, RANK), col(TIME, "f"), col(EVENT, "f"), *more)
        return select.select(*self.feature_values(plan, join, "f", col(TIME, "f"))).from_(won.subquery("f"))

    def _view_moments(self, join: AsofJoin, ties: bool) -> exp.Select:
        """The view's rows, whole, with the moment from which they are seen."""
        null = exp.cast(exp.Null(), exp.DataType.build("BIGINT"))
        naive = exp.cast(exp.Null(), exp.DataType.build("TIMESTAMP"))
        select = exp.select(
            *self.view_keys(join, "f"),
            with_alias(self.effective(join, "f"), AT),
            with_alias(null, ID),
            with_alias(naive, TIME),
            with_alias(self._row(join), ROW),
            *(self._levels(join) if ties else ()),
        )
        select = select.from_(self.relation(join, "f"))
        if join.narrow:
            select = select.join(self._label_keys(join), on=self.keys_equal(join, "k", "f"), join_type="left semi")
        return select.where(all_of(self.usable(join, "f"), *self._visible_range(join)))

    def _labels_among(self, join: AsofJoin, ties: bool) -> exp.Select:
        """The labels, at the moment up to which they see the view. Of one moment rows come first, having no number."""
        nothing = [ROW, HIGH, LOW] if ties else [ROW]
        select = exp.select(
            *self.label_keys(join, "l"),
            with_alias(self.seen(join, "l"), AT),
            col(ID, "l"),
            col(TIME, "l"),
            *(with_alias(exp.Null(), name) for name in nothing),
        )
        return select.from_(self.labels_of(join, "l")).where(self.is_label_known(join, "l"))

    def _label_keys(self, join: AsofJoin) -> exp.Expression:
        known = exp.select(*self.label_keys(join, "l")).from_(self.labels_of(join, "l")).distinct()
        return known.where(self.is_label_known(join, "l")).subquery("k")

    def _visible_range(self, join: AsofJoin) -> list[exp.Expression]:
        """The range of times that labels can see, said of the column as it is so that files can be skipped."""
        event = join.event
        assert event is not None
        kind = self.type(event.dtype)
        # An instant is compared with a naive time in the session's zone, at most a day from UTC.
        slack = exp.Interval(this=exp.Literal.string("1"), unit=exp.var("DAY"))

        def bound(aggregate: type[exp.AggFunc], away: type[exp.Binary]) -> exp.Expression:
            return exp.cast(away(this=aggregate(this=col(TIME)), expression=slack.copy()), kind.copy())

        def asked(value: exp.Expression) -> exp.Expression:
            return exp.select(value).from_(table(LABELS)).subquery()

        reach: list[exp.Expression] = [exp.LTE(this=col(event.name, "f"), expression=asked(bound(exp.Max, exp.Add)))]
        if join.ttl is not None:
            first = self.shift(exp.Min(this=col(TIME)), -join.ttl)
            first = exp.cast(exp.Sub(this=first, expression=slack.copy()), kind.copy())
            reach.append(exp.GTE(this=col(event.name, "f"), expression=asked(first)))
        return reach

    def _row(self, join: AsofJoin) -> exp.Expression:
        """A row as one value: greater is better, by its event time, then by what breaks ties; then all it brings."""
        fields: dict[str, exp.Expression] = {EVENT: self.event(join, "f")}
        for place, column in enumerate(self.tie_columns(join)):
            for number, value in enumerate(self.comparable(column, "f")):
                plain = isinstance(value, exp.Column)
                fields[column.name if plain else f"{RESERVED}t{place}_{number}"] = value
        for column in self._needed_columns(join):
            value = col(column.name, "f")
            fields.setdefault(
                column.name,
                exp.Anonymous(this="MAP_ENTRIES", expressions=[value]) if column.dtype.kind in _NOT_ORDERED else value,
            )
        return _struct(fields)

    def _needed_columns(self, join: AsofJoin) -> list[Column]:
        """The columns that leave the view: features, and when the row ends."""
        found = [feature.stored for feature in join.features]
        unordered = [column.name for column in found if column.dtype.kind in (Kind.JSON, Kind.UNKNOWN)]
        if unordered:
            raise UnsupportedByDialect(
                [
                    Problem(
                        what=f"{join.view}: {self.name} has no order of the type of {', '.join(unordered)}, and a row "
                        "is chosen by its order",
                        fix="cast it in the model to text or to a type that can be compared",
                    )
                ]
            )
        return [*found, *([join.valid_to] if join.valid_to is not None else [])]

    def _levels(self, join: AsofJoin) -> list[exp.Expression]:
        """What tells that several contents share the best level: the greatest and the least hash of a content."""
        declared = {EVENT: self.event(join, "f")}
        for place, column in enumerate(join.order):
            for number, value in enumerate(self.comparable(column, "f")):
                declared[f"{RESERVED}t{place}_{number}"] = value
        content = [value for column in self.tie_columns(join) for value in self.comparable(column, "f")]
        high: exp.Expression = exp.Literal.number(0)
        if content:
            high = exp.Anonymous(this="XXHASH64", expressions=content)
        # Turned over bit by bit the least is the greatest.
        low = exp.BitwiseNot(this=high.copy())
        return [
            with_alias(
                _struct({**{name: value.copy() for name, value in declared.items()}, RESERVED + "h": side}), name
            )
            for name, side in ((HIGH, high), (LOW, low))
        ]

    def _tie_flag(self, ties: bool) -> list[exp.Expression]:
        if not ties:
            return []
        high, low = (_field(col(name, "m"), f"{RESERVED}h") for name in (HIGH, LOW))
        return [with_alias(exp.NEQ(this=high, expression=exp.BitwiseNot(this=low)), TIED)]

    def _fields(self, join: AsofJoin, alias: str) -> list[exp.Expression]:
        """The event time and the columns of a winning row, out of its value."""
        found = [with_alias(_field(col(ROW, alias), EVENT), EVENT)]
        for column in {column.name: column for column in self._needed_columns(join)}.values():
            value: exp.Expression = _field(col(ROW, alias), column.name)
            if column.dtype.kind in _NOT_ORDERED:
                value = exp.Anonymous(this="MAP_FROM_ENTRIES", expressions=[value])
            found.append(with_alias(value, column.name))
        return found

    def _snapshot_rows(self, plan: Plan, join: AsofJoin) -> exp.Select:
        """The best row of each key as of the one time of a snapshot: a maximum by key, without a window."""
        assert isinstance(plan.spine, Entities)
        at = self.moment(plan.spine.as_of)
        seen = exp.LTE(this=self.effective(join, "f"), expression=at)
        best = exp.select(*self.view_keys(join, "f"), with_alias(exp.Max(this=self._row(join)), ROW))
        best = best.from_(self.relation(join, "f")).where(all_of(self.usable(join, "f"), seen))
        best = best.group_by(*(col(key.name, "f") for key, _ in join.keys))
        keys = [key_alias(position) for position in range(len(join.keys))]
        won = exp.select(*(col(key, "b") for key in keys), *self._fields(join, "b")).from_(best.subquery("b"))
        on = [
            exp.EQ(this=col(label, "l"), expression=col(key, "f"))
            for key, (_, label) in zip(keys, join.keys, strict=True)
        ]
        select = exp.select(
            col(ID, "l"),
            with_alias(exp.Literal.number(1), RANK),
            col(EVENT, "f"),
            *self.feature_values(plan, join, "f", at.copy()),
        )
        select = select.from_(table(LABELS, "l")).join(won.subquery("f"), on=all_of(*on), join_type="inner")
        fresh = self.fresh(join, col(EVENT, "f"), col(TIME, "l"))
        return select.where(all_of(*fresh)) if fresh else select


def _comment(join: AsofJoin) -> str:
    bound = "before" if join.exclusive else "at or before"
    declared = "".join(f"{column.name}, then " for column in join.order)
    return (
        f"the newest row {bound} each label, ties by {declared}the content (rules 1 and 3);\n"
        f"{RANK} 2 has expired by the label's time (rule 2)."
    )


def _struct(fields: dict[str, exp.Expression]) -> exp.Expression:
    parts = [part for name, value in fields.items() for part in (exp.Literal.string(name), value)]
    return exp.Anonymous(this="NAMED_STRUCT", expressions=parts)


def _field(struct: exp.Expression, name: str) -> exp.Expression:
    return exp.Dot(this=struct, expression=exp.to_identifier(name, quoted=True))


def _spark_generator(generator: type[Generator]) -> type[Generator]:
    class SparkSql(generator):  # type: ignore[misc, valid-type]
        # A naive timestamp; Spark's TIMESTAMP is an instant.
        TYPE_MAPPING: ClassVar[Any] = {**generator.TYPE_MAPPING, exp.DataType.Type.TIMESTAMP: "TIMESTAMP_NTZ"}

        def cte_sql(self, expression: exp.CTE) -> str:
            # Spark has no such word; it computes a CTE once if its rows are numbered in it.
            expression.set("materialized", None)
            text: str = super().cte_sql(expression)
            return text

    return SparkSql


DIALECT = Spark()
